// A session of the official JavaScript client through Miroir.
import assert from 'node:assert/strict'
import { Meilisearch } from 'meilisearch'

const client = new Meilisearch({ host: process.env.MIROIR_URL, apiKey: process.env.MIROIR_KEY })
const uid = 'sdk-javascript'

async function done(promise) {
  const { taskUid } = await promise
  const task = await client.tasks.waitForTask(taskUid, { timeout: 60_000 })
  assert.equal(task.status, 'succeeded', JSON.stringify(task))
  return task
}

assert.equal((await client.health()).status, 'available')
await done(client.createIndex(uid, { primaryKey: 'id' }))
const index = client.index(uid)
await done(index.updateSettings({ filterableAttributes: ['year'], sortableAttributes: ['year'], stopWords: ['the'] }))
await done(index.addDocuments([
  { id: 1, title: 'The Third Man', year: 1949 },
  { id: 2, title: 'Carol', year: 2015 },
  { id: 3, title: 'Paris, Texas', year: 1984 },
]))
await done(index.updateDocuments([{ id: 2, country: 'US' }]))
assert.deepEqual((await index.search('paris')).hits.map((hit) => hit.id), [3])
const found = await index.search('', { filter: 'year > 1950', sort: ['year:desc'], facets: ['year'] })
assert.deepEqual(found.hits.map((hit) => hit.id), [2, 3])
assert.deepEqual(found.facetDistribution.year, { 1984: 1, 2015: 1 })
assert.equal((await index.getDocument(2)).country, 'US')
assert.equal((await index.getStats()).numberOfDocuments, 3)
assert.deepEqual((await index.getSettings()).filterableAttributes, ['year'])
assert.equal((await index.getDocuments({ limit: 2 })).total, 3)
const multi = await client.multiSearch({ queries: [{ indexUid: uid, q: 'carol' }, { indexUid: uid, q: 'third' }] })
assert.deepEqual(multi.results.map((result) => result.hits[0].id), [2, 1])
await done(index.deleteDocument(1))
assert.ok((await client.tasks.getTasks({ indexUids: [uid], statuses: ['succeeded'] })).total >= 5)
await done(client.deleteIndex(uid))
console.log('javascript: ok')
