// What a shop's search page has: a box, facets of which one can be searched, a range, an order, pages.
import { instantMeiliSearch } from '@meilisearch/instant-meilisearch'
import instantsearch from 'instantsearch.js'
import {
  configure, currentRefinements, hits, pagination, rangeInput, refinementList, searchBox, sortBy, stats,
} from 'instantsearch.js/es/widgets'

const said = new URLSearchParams(location.search)
const { searchClient } = instantMeiliSearch(said.get('url'), said.get('key') ?? '', {
  finitePagination: said.get('finite') === 'true',
  primaryKey: 'id',
})
const search = instantsearch({ indexName: said.get('index'), searchClient })
const byCount = ['count:desc', 'name:asc']
search.addWidgets([
  configure({ hitsPerPage: 8 }),
  searchBox({ container: '#box' }),
  stats({ container: '#stats', templates: { text: (found) => `${found.nbHits} hits` } }),
  sortBy({
    container: '#order',
    items: [{ label: 'best', value: said.get('index') }, { label: 'largest', value: `${said.get('index')}:population:desc` }],
  }),
  refinementList({ container: '#country', attribute: 'country', limit: 8, sortBy: byCount, searchable: true }),
  refinementList({ container: '#feature', attribute: 'feature', limit: 8, sortBy: byCount }),
  rangeInput({ container: '#population', attribute: 'population' }),
  currentRefinements({ container: '#refined' }),
  hits({
    container: '#hits',
    templates: {
      item: (hit, { html, components }) =>
        html`<b>${components.Highlight({ hit, attribute: 'name' })}</b> ${hit.country} ${hit.population}`,
    },
  }),
  pagination({ container: '#pages' }),
])
search.on('error', ({ error }) => console.error(String(error)))
search.start()
