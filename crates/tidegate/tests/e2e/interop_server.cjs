// Plays a hub with a WebSocket library of Node: prints its address, and what its client said, as JSON.
//
//     node interop_server.cjs ws on|off

'use strict'

const [library, compression] = process.argv.slice(2)
const { WebSocketServer } = require(library)

const perMessageDeflate = compression === 'on' ? { threshold: 0 } : false
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate }, () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})

server.on('connection', (socket) => {
  const seen = { compressed: socket.extensions !== '' }
  const send = (message) => socket.send(JSON.stringify(message))
  socket.on('message', (text) => {
    seen.resume = JSON.parse(text)
    send({ type: 'subscribed', at: null, topics: ['demo'] })
    for (const seq of [1, 2, 3]) {
      const data = `${seq} ${'a text that says the same again, '.repeat(1000)}`
      send({ type: 'event', id: `aa-${seq}`, seq, topic: 'demo', data })
    }
  })
  socket.on('close', (code) => {
    seen.code = code
    console.log(JSON.stringify(seen))
    process.exit(0)
  })
})
