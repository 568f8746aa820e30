// Uses the page as a person would, in a real browser. With MEILISEARCH_URL, too, it does so at one node, and what can be seen must be
// the same step by step.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { chromium } from 'playwright-core'

const INDEX = 'instantsearch'
const key = process.env.MEILISEARCH_KEY ?? ''
const urls = [process.env.MIROIR_URL, process.env.MEILISEARCH_URL].filter(Boolean)
const here = (name) => new URL(name, import.meta.url)

async function ask(url, method, path, body) {
  const headers = { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) }
  const reply = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) })
  const value = await reply.json()
  assert(reply.ok, `${method} ${path}: ${JSON.stringify(value)}`)
  return value
}

async function done(url, task) {
  for (;;) {
    const now = await ask(url, 'GET', `/tasks/${task.taskUid}`)
    if (!['enqueued', 'processing'].includes(now.status)) return now
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function load(url) {
  await done(url, await ask(url, 'DELETE', `/indexes/${INDEX}`))
  await ask(url, 'PATCH', `/indexes/${INDEX}/settings`, {
    searchableAttributes: ['name', 'altName'],
    filterableAttributes: ['country', 'feature', 'population'],
    sortableAttributes: ['population'],
    faceting: { maxValuesPerFacet: 1000, sortFacetValuesBy: { '*': 'count' } },
  })
  const cities = readFileSync(process.env.CITIES, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line))
  const task = await done(url, await ask(url, 'POST', `/indexes/${INDEX}/documents?primaryKey=id`, cities))
  assert.equal(task.status, 'succeeded', JSON.stringify(task))
}

async function use(browser, page, url, finite) {
  const tab = await browser.newPage()
  const faults = []
  tab.on('console', (line) => line.type() === 'error' && faults.push(line.text()))
  tab.on('pageerror', (error) => faults.push(String(error)))
  const asked = new URLSearchParams({ url, key, finite, index: INDEX })
  await tab.goto(`${page}/index.html?${asked}`)
  const seen = {}
  const step = async (name, act) => {
    await act()
    // The page asks after each key; what it shows is settled when nothing has been asked for half a second.
    await tab.waitForLoadState('networkidle')
    await tab.waitForTimeout(700)
    const text = async (id) => (await tab.innerText(id)).replace(/\s+/g, ' ').trim()
    const found = { hits: await tab.innerHTML('#hits'), stats: await text('#stats .ais-Stats-text'), pages: await text('#pages') }
    seen[name] = { ...found, country: await text('#country'), feature: await text('#feature'), list: await text('#hits') }
  }
  const facet = (id, place) => tab.click(`${id} li:nth-child(${place}) label`)
  await step('start', () => tab.waitForSelector('#hits li'))
  await step('typed', () => tab.fill('#box input', 'san'))
  await step('refined', () => facet('#country', 1))
  await step('refined twice', () => facet('#country', 2))
  await step('ordered', () => tab.selectOption('#order select', `${INDEX}:population:desc`))
  await step('next page', () => tab.click('#pages a[aria-label="Next Page"]'))
  await step('range', async () => {
    await tab.fill('#population input.ais-RangeInput-input--min', '100000')
    await tab.click('#population button')
  })
  await step('typo', async () => {
    await tab.goto(`${page}/index.html?${asked}`)
    await tab.fill('#box input', 'barcelina')
  })
  await step('facet searched', async () => {
    await tab.fill('#box input', '')
    await tab.fill('#country input[type=search]', 'f')
  })
  await tab.close()
  assert.deepEqual(faults, [])
  return seen
}

function makesSense(seen) {
  const count = (name) => Number(seen[name].stats.match(/([\d,]+) /)[1].replace(/\D/g, ''))
  const counts = ['start', 'typed', 'refined twice', 'refined'].map(count)
  assert(counts.every((one, place) => place === 0 || one < counts[place - 1]), `narrower: ${counts}`)
  assert.match(seen.typed.hits, /<mark[^>]*>San<\/mark>/)
  assert.match(seen.typo.list, /Barcelona ES/)
  assert.match(seen['facet searched'].country, /FR/)
  assert.doesNotMatch(seen['facet searched'].country, /ES/)
  const sizes = ['ordered', 'next page'].flatMap((name) => [...seen[name].list.matchAll(/[A-Z]{2} (\d+)/g)].map((hit) => Number(hit[1])))
  assert(sizes.length > 8 && sizes.every((size, place) => place === 0 || size <= sizes[place - 1]), `ordered: ${sizes}`)
}

const server = createServer((request, reply) => {
  const name = request.url.split('?')[0].slice(1)
  const type = { 'index.html': 'text/html', 'page.bundle.js': 'text/javascript' }[name]
  if (type) reply.setHeader('content-type', type).end(readFileSync(here(name)))
  else reply.writeHead(404).end()
})
await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
const page = `http://127.0.0.1:${server.address().port}`
const quiet = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: quiet })
try {
  await Promise.all(urls.map(load))
  for (const finite of [false, true]) {
    const all = []
    for (const url of urls) all.push(await use(browser, page, url, finite))
    makesSense(all[0])
    if (all.length > 1) assert.deepEqual(all[0], all[1], 'the gateway shows what one node shows')
    console.log(`pages ${finite ? 'counted' : 'as one goes'}: ${Object.keys(all[0]).length} steps, ${all.length > 1 ? 'as on one node' : 'fine'}`)
  }
} finally {
  await browser.close()
  server.close()
}
