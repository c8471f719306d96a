// Opens an EventSource for each vector and prints what it dispatched until it was told to stop.

const { chromium } = require('playwright-core')

const PATIENCE_MS = 120_000

async function main() {
  const { url, vectors, types } = JSON.parse(process.argv[3])
  const browser = await chromium.launch({
    executablePath: process.argv[2],
    headless: true,
    chromiumSandbox: false,
  })
  const late = setTimeout(() => {
    console.error(`not done within ${PATIENCE_MS} ms`)
    process.exit(1)
  }, PATIENCE_MS)
  const page = await browser.newPage()
  await page.goto(url)
  const dispatched = await page.evaluate(
    ({ vectors, types }) => {
      const run = (number) =>
        new Promise((resolve) => {
          const events = []
          const source = new EventSource(`/vector/${number}`)
          for (const type of types) {
            source.addEventListener(type, (event) =>
              events.push([event.type, event.data, event.lastEventId]),
            )
          }
          source.onerror = () => {
            if (source.readyState === EventSource.CLOSED) resolve(events)
          }
        })
      return Promise.all(Array.from({ length: vectors }, (_, number) => run(number)))
    },
    { vectors, types: [...new Set(['message', ...types])] },
  )
  console.log(JSON.stringify(dispatched))
  clearTimeout(late)
  await browser.close()
}

main()
