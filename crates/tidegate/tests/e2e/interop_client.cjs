// Speaks with the hub through a WebSocket library of Node and prints what it saw, as JSON.
//
//     node interop_client.cjs ws|undici URL DATA

'use strict'

// Takes any WebSocket with the interface of browsers; runs in one, too.
function exchange(socket, data) {
  return new Promise((resolve, reject) => {
    const seen = { events: [], published: 0, topics: 0 }
    const send = (message) => socket.send(JSON.stringify(message))
    let live = false
    socket.onerror = (event) => reject(new Error(event.message ?? 'the connection failed'))
    socket.onopen = () => send({ type: 'resume', topics: ['demo'] })
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data)
      if (message.type === 'ready' && !live) {
        live = true
        send({ type: 'publish', topic: 'demo', data: `1 ${data}` })
        send({ type: 'publish', topic: 'demo', data: `2 ${data}` })
      } else if (message.type === 'event') {
        seen.events.push(message.data)
      } else if (message.type === 'published') {
        seen.published += 1
      } else if (message.type === 'subscribed') {
        seen.topics = message.topics.length
      } else if (message.type === 'error') {
        reject(new Error(event.data))
      }
      if (seen.topics > 1) {
        socket.close(1000)
      } else if (seen.events.length === 2 && seen.published === 2) {
        const topics = Array.from({ length: 30 }, (_, n) => `topic/${n}/${'x'.repeat(100)}`)
        send({ type: 'subscribe', topics })
      }
    }
    socket.onclose = (event) => {
      seen.code = event.code
      seen.protocol = socket.protocol
      seen.extensions = socket.extensions
      resolve(seen)
    }
  })
}
// End of exchange

if (typeof require !== 'undefined') {
  const [library, url, data] = process.argv.slice(2)
  const { WebSocket } = require(library)
  exchange(new WebSocket(url, ['tidegate.v1+json']), data).then(
    (seen) => {
      // Node's `ws` names the extensions without their parameters.
      if (library === 'ws') delete seen.extensions
      console.log(JSON.stringify(seen))
    },
    (error) => {
      console.error(error)
      process.exit(1)
    },
  )
}
