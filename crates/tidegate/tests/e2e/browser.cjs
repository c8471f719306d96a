// Drives one Chromium page by commands, a JSON object a line, and answers each with one.

const { createInterface } = require('node:readline')
const { setTimeout } = require('node:timers/promises')
const { chromium } = require('playwright-core')

const PATIENCE_MS = 60_000

// Asks from outside: `page.waitForFunction` evaluates text within the page, which the page's
// content security policy forbids.
async function until(isTrue) {
  const end = Date.now() + PATIENCE_MS
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`not true within ${PATIENCE_MS} ms`)
    await setTimeout(20)
  }
}

async function main() {
  const browser = await chromium.launch({
    executablePath: process.argv[2],
    headless: true,
    chromiumSandbox: false,
    timeout: PATIENCE_MS,
  })
  const page = await browser.newPage({ ignoreHTTPSErrors: true, viewport: { width: 1200, height: 900 } })
  page.setDefaultTimeout(PATIENCE_MS)
  const said = []
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => said.push(`uncaught: ${error.message}`))

  console.log('ready')
  const commands = {
    open: ({ url }) => page.goto(url).then(() => null),
    evaluate: ({ expression }) => page.evaluate(expression),
    wait: ({ expression }) => until(() => page.evaluate(expression)),
    fill: ({ selector, text }) => page.fill(selector, text),
    press: ({ selector, key }) => page.press(selector, key),
    click: ({ selector }) => page.click(selector),
    media: ({ scheme }) => page.emulateMedia({ colorScheme: scheme }),
    size: ({ width, height }) => page.setViewportSize({ width, height }),
    screenshot: ({ path }) => page.screenshot({ path, fullPage: true }).then(() => null),
    said: () => said,
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line)
    let answer
    try {
      answer = { ok: (await commands[command.do](command)) ?? null }
    } catch (error) {
      answer = { failed: error.message }
    }
    console.log(JSON.stringify(answer))
  }
  await browser.close()
}

main()
