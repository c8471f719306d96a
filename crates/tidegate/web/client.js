// The browser client of a Tidegate hub: one ES module, no dependencies, no build step.
//
//   import { connect, publish } from './client.js'
//
//   const subscription = connect({
//     url: 'http://127.0.0.1:8080',        // the hub; default: where this module came from
//     topics: ['orders', 'alerts'],
//     transport: 'sse',                    // or 'ws'
//     after: 'latest',                     // or 'earliest', or a cursor: the id of an event
//     storageKey: 'orders',                // optional: keeps the cursor in sessionStorage
//     onevent: (event) => {},              // { id, seq, prev, topic, event, data, time }
//     ongap: (gap) => {},                  // { reason, after, id, skipped }
//     onready: (ready) => {},              // { id, policy }: what was missed is delivered
//     onstate: (state) => {},              // { state, reconnects, retryIn, reason }
//   })
//   subscription.cursor                    // the newest cursor, to be passed as `after` later
//   subscription.close()
//
// From the first `onready` on, every event arrives exactly once and in order, or `ongap` says what
// could not be had. A lost connection is made again and goes on after the newest cursor. `data` is
// a string, or a Uint8Array where the published bytes are not UTF-8.

const SUBPROTOCOL = 'tidegate.v1+json'
const BACKOFF_BASE_MS = 500
const BACKOFF_CAP_MS = 30_000

// Close codes after which trying again cannot help: an orderly end, our own mistake, or a refusal.
// All others, 1006 (no close frame) and 1012 (service restart) first, are worth another try.
const FINAL_CLOSE_CODES = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010, 4401])

/** Subscribes to topics. See the head of this file. */
export function connect(options) {
  if (!Array.isArray(options.topics) || options.topics.length === 0) {
    throw new TypeError('connect: `topics` must name at least one topic')
  }
  const transports = { sse: EventSourceTransport, ws: WebSocketTransport }
  const Transport = transports[options.transport ?? 'sse']
  if (!Transport) {
    throw new TypeError(`connect: transport '${options.transport}' is neither 'sse' nor 'ws'`)
  }
  return new Subscription(options, Transport)
}

/** Publishes one event; resolves to `{ id, duplicate }`, rejects with the hub's explanation. */
export async function publish({ url, topic, data, event, idempotencyKey, conflateKey }) {
  const target = endpoint('events', url)
  target.searchParams.set('topic', topic)
  const headers = { 'content-type': 'text/plain; charset=utf-8' }
  if (event) headers['event-type'] = event
  if (idempotencyKey) headers['idempotency-key'] = idempotencyKey
  if (conflateKey) headers['conflate-key'] = conflateKey
  const response = await fetch(target, { method: 'POST', headers, body: data })
  if (response.ok) return response.json()
  throw await refusal(response)
}

/** A delay in [0, min(cap, base * 2^attempt)): full jitter, so that clients do not return at once. */
export function backoff(attempt, random = Math.random) {
  return Math.floor(random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt))
}

class Subscription {
  #options
  #storageKey
  #transport
  #timer
  #attempts = 0
  #opened = false
  #cursor
  #state = 'connecting'
  #reconnects = 0

  constructor(options, Transport) {
    this.#options = options
    this.#storageKey = options.storageKey && `tidegate:${options.storageKey}`
    this.#cursor = this.#storageKey ? sessionStorage.getItem(this.#storageKey) : null
    this.#transport = new Transport({
      ...options,
      opened: () => this.#wasOpened(),
      interrupted: (reason) => this.#enter('connecting', { reason }),
      retry: (reason, delay) => this.#retry(reason, delay),
      stop: (reason) => this.#enter('closed', { reason }),
      advance: (cursor) => this.#advance(cursor),
      cursor: () => this.#cursor,
      event: (event) => this.#event(event),
      gap: (gap) => this.#gap(gap),
      ready: (ready) => this.#ready(ready),
    })
    // Callbacks never run before `connect` has returned.
    queueMicrotask(() => this.#state === 'connecting' && this.#open())
  }

  /** The newest cursor, or null before the first. */
  get cursor() {
    return this.#cursor
  }

  /** 'connecting', 'open' (catching up), 'live', 'waiting' (to reconnect) or 'closed'. */
  get state() {
    return this.#state
  }

  /** How many times the connection was made again. */
  get reconnects() {
    return this.#reconnects
  }

  /** Ends the subscription; no callback runs after this. */
  close() {
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.#transport.close()
  }

  #open() {
    this.#transport.open(this.#cursor ?? this.#options.after)
  }

  #wasOpened() {
    if (this.#opened) this.#reconnects++
    this.#opened = true
    this.#enter('open')
  }

  #advance(cursor) {
    if (!cursor) return
    this.#cursor = cursor
    if (this.#storageKey) sessionStorage.setItem(this.#storageKey, cursor)
  }

  #event(event) {
    this.#advance(event.id)
    this.#attempts = 0
    if (event.encoding === 'base64') event.data = bytes(event.data)
    this.#options.onevent?.(event)
  }

  #gap(gap) {
    this.#advance(gap.id)
    this.#options.ongap?.(gap)
  }

  #ready(ready) {
    this.#advance(ready.id)
    this.#attempts = 0
    if (this.#state !== 'live') this.#enter('live')
    this.#options.onready?.(ready)
  }

  #retry(reason, delay = backoff(this.#attempts++)) {
    this.#timer = setTimeout(() => {
      this.#enter('connecting')
      this.#open()
    }, delay)
    this.#enter('waiting', { reason, retryIn: delay })
  }

  #enter(state, { reason = null, retryIn = null } = {}) {
    this.#state = state
    this.#options.onstate?.({ state, reconnects: this.#reconnects, retryIn, reason })
  }
}

class EventSourceTransport {
  #session
  #source

  constructor(session) {
    this.#session = session
  }

  open(after) {
    const { url, topics, policy, opened, event, gap, ready } = this.#session
    const target = endpoint('events', url)
    for (const topic of topics) target.searchParams.append('topic', topic)
    target.searchParams.set('format', 'json')
    if (policy) target.searchParams.set('policy', policy)
    if (after) target.searchParams.set('last_event_id', after)

    const source = new EventSource(target)
    this.#source = source
    source.onopen = () => opened()
    source.onmessage = ({ data }) => event(JSON.parse(data))
    source.addEventListener('$gap', ({ data }) => gap(JSON.parse(data)))
    source.addEventListener('$ready', ({ data }) => ready(JSON.parse(data)))
    source.onerror = () => {
      // The browser reconnects by itself, with the last id it saw, unless the answer was final
      // for it: anything but a 200. That may still be a proxy's answer while the hub restarts.
      if (source.readyState === EventSource.CONNECTING) this.#session.interrupted('connection lost')
      else this.#judge(source, target)
    }
  }

  close() {
    this.#source?.close()
    this.#source = undefined
  }

  /** Asks again in a way that tells what EventSource keeps to itself: the status. */
  async #judge(source, target) {
    const { cursor } = this.#session
    if (cursor()) target.searchParams.set('last_event_id', cursor())
    const asked = new AbortController()
    let reason = 'no connection'
    let final = false
    try {
      const response = await fetch(target, { signal: asked.signal })
      const { status, ok } = response
      const passing = [408, 425, 429].includes(status)
      final = status === 204 || (status >= 400 && status < 500 && !passing)
      if (status === 204) reason = 'all topics have ended'
      else reason = ok ? 'ended by the hub' : (await refusal(response)).message
    } catch {
      // Not reachable: the ordinary case for another try.
    }
    asked.abort()
    if (this.#source !== source) return
    if (final) this.#session.stop(reason)
    else this.#session.retry(reason)
  }
}

class WebSocketTransport {
  #session
  #socket

  constructor(session) {
    this.#session = session
  }

  open(after) {
    const { url, topics, policy, opened, advance, event, gap, ready, stop, retry } = this.#session
    const target = endpoint('ws', url)
    target.protocol = target.protocol === 'https:' ? 'wss:' : 'ws:'

    const socket = new WebSocket(target, SUBPROTOCOL)
    this.#socket = socket
    let resumed = false
    let told
    let delay
    socket.onopen = () => {
      socket.send(JSON.stringify({ type: 'resume', after, topics, policy }))
      opened()
    }
    socket.onmessage = ({ data }) => {
      if (this.#socket !== socket) return
      const message = JSON.parse(data)
      switch (message.type) {
        case 'subscribed':
          resumed = true
          return advance(message.at)
        case 'event':
          return event(message)
        case 'gap':
          resumed = true
          return gap(message)
        case 'ready':
          return ready(message)
        case 'drain':
          delay = message.retry_ms
          return
        case 'error':
          told = message.detail ?? message.code
          if (resumed) return
          // The answer to `resume`: the hub would wait for a better one.
          this.close()
          stop(told)
      }
    }
    socket.onclose = ({ code, reason }) => {
      if (this.#socket !== socket) return
      // With 1012 the reason is the delay in milliseconds that the hub asks for.
      if (code === 1012 && /^\d{1,9}$/.test(reason)) delay = Number(reason)
      const why = told ?? (code === 1006 ? 'connection lost' : `closed with ${code} ${reason}`.trim())
      if (FINAL_CLOSE_CODES.has(code)) stop(why)
      else retry(why, delay)
    }
  }

  close() {
    const socket = this.#socket
    this.#socket = undefined
    socket?.close(1000)
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}))
  const error = new Error(problem.detail ?? problem.title ?? `the hub answered ${response.status}`)
  error.status = response.status
  error.code = problem.code
  return error
}

function endpoint(path, hub = new URL('.', import.meta.url)) {
  const base = new URL(hub)
  if (!base.pathname.endsWith('/')) base.pathname += '/'
  return new URL(path, base)
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
}
