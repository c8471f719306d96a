// The demo page: one topic or pattern over EventSource and over WebSocket, side by side.

import { connect, publish } from './client.js'

const SHOWN = 200
const SHOWN_CHARACTERS = 2000
const topic = new URLSearchParams(location.search).get('topic') || 'demo'
const isPattern = topic.split('/').some((segment) => segment === '*' || segment === '**')
// A topic that the pattern matches, to begin with.
const example = topic.replaceAll('**', 'demo').replaceAll('*', 'demo')

/** One transport's half of the page. Text from the hub enters the document as text only. */
class Side {
  #root
  #lines = []
  #events = 0
  #gaps = 0
  #painting = false

  constructor(transport) {
    this.#root = document.getElementById(transport)
    connect({
      transport,
      topics: [topic],
      after: 'latest',
      onstate: (state) => this.#showState(state),
      onready: ({ id }) => this.#show('id', id),
      onevent: (event) => this.#receive(event),
      ongap: (gap) => this.#miss(gap),
    })
  }

  #receive(event) {
    const data = typeof event.data === 'string' ? event.data : `${event.data.length} bytes`
    this.#show('events', ++this.#events)
    this.#show('id', event.id)
    if (event.time) this.#show('lag', `${Math.max(0, Date.now() - event.time)} ms`)
    const text = event.event ? `${event.event}: ${data}` : data
    this.#add({ id: event.id, topic: isPattern && event.topic, text })
  }

  #miss({ reason, after, id, skipped }) {
    const count = skipped ? `, ${skipped} events skipped` : ''
    const from = after ? ` after ${after}` : ''
    this.#show('gaps', ++this.#gaps)
    this.#show('id', id)
    this.#add({ id, gap: true, text: `gap: ${reason}${from}${count}` })
  }

  #showState({ state, reconnects, retryIn, reason }) {
    const words = {
      connecting: 'connecting',
      open: 'catching up',
      live: 'live',
      waiting: `retry in ${((retryIn ?? 0) / 1000).toFixed(1)} s`,
      closed: `closed: ${reason}`,
    }
    const shown = this.#root.querySelector('.state')
    shown.textContent = words[state]
    shown.dataset.state = state
    shown.title = reason ?? ''
    this.#show('reconnects', reconnects)
  }

  #show(field, value) {
    this.#root.querySelector(`[data-field='${field}']`).textContent = value ?? '-'
  }

  /** Lists a line, at most once a frame, so that a flood of events does not stop the page. */
  #add(line) {
    this.#lines.push(line)
    if (this.#lines.length > SHOWN) this.#lines.shift()
    if (this.#painting) return
    this.#painting = true
    requestAnimationFrame(() => {
      this.#painting = false
      const list = this.#root.querySelector('.events')
      list.prepend(...this.#lines.splice(0).reverse().map(item))
      while (list.childElementCount > SHOWN) list.lastElementChild.remove()
    })
  }
}

function item({ id, topic, text, gap }) {
  const line = document.createElement('li')
  if (gap) line.className = 'gap'
  // The epoch is the same for long stretches, so a line shows the part that moves.
  const shown = cell('id', id ? `#${id.slice(id.indexOf('-') + 1)}` : '-')
  shown.title = id ?? ''
  const cut = text.length > SHOWN_CHARACTERS
  line.append(shown)
  if (topic) line.append(cell('topic', topic))
  line.append(cell('data', cut ? `${text.slice(0, SHOWN_CHARACTERS)}\u2026` : text))
  return line
}

function cell(name, text) {
  const cell = document.createElement('span')
  cell.className = name
  cell.textContent = text
  return cell
}

function report(text, failed = false) {
  const shown = document.getElementById('report')
  shown.textContent = text
  shown.classList.toggle('failed', failed)
}

/** `text` as one word of a POSIX shell. */
function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`
}

document.getElementById('topic').value = topic
document.getElementById('to').value = example
document.getElementById('to').hidden = !isPattern
document.title = `${topic} - Tidegate`

document.getElementById('publish').addEventListener('submit', async (submitted) => {
  submitted.preventDefault()
  const field = document.getElementById('data')
  const data = field.value
  try {
    const { id } = await publish({ topic: document.getElementById('to').value, data })
    // What was typed meanwhile stays.
    if (field.value === data) field.value = ''
    report(`Published ${id}`)
  } catch (error) {
    report(`Not published: ${error.message}`, true)
  }
})

document.getElementById('drop').addEventListener('click', async () => {
  try {
    const { ok, status } = await fetch('dev/drop', { method: 'POST' })
    report(ok ? 'Dropped. Watch both sides resume.' : `The hub refused: ${status}`, !ok)
  } catch {
    report('The hub is not reachable.', true)
  }
})

/** The hub's address for a topic, as a person would write it. */
function events(topic) {
  const url = new URL('events', location.href)
  url.searchParams.set('topic', topic)
  return url.href.replaceAll('%2F', '/')
}

document.getElementById('commands').textContent = [
  `curl -N ${quote(events(topic))}`,
  `curl -d hello ${quote(events(example))}`,
  `tail -f /var/log/dpkg.log | tidegate publish ${quote(example)} --url ${location.origin}`,
  `tidegate subscribe ${quote(topic)} --url ${location.origin}`,
].join('\n')

new Side('sse')
new Side('ws')
