// What is shown, changed in place: rows and buttons stay the same elements, so nobody loses the focus or the place by a refresh.
// Text of the cluster only ever becomes text nodes.

export const $ = (id) => document.getElementById(id);

export function setText(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

export function make(name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = String(text);
  if (className) element.className = className;
  return element;
}

// A cell is a text, or { text, tone, n } with a tone of good, odd or bad, or { node } with an element that is kept by its row.
function fill(cell, value) {
  if (value instanceof Object && value.node) {
    if (cell.firstChild !== value.node) cell.replaceChildren(value.node);
    return;
  }
  const { text, tone } = value instanceof Object ? value : { text: value };
  setText(cell, text ?? '–');
  const className = [cell.dataset.base, tone].filter(Boolean).join(' ');
  if (cell.className !== className) cell.className = className;
}

// Rows are { key, cells }; `nothing` is said where there is none.
export function fillTable(table, rows, nothing) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const wanted = rows.length ? rows : [{ key: '', cells: null }];
  const ordered = wanted.map(({ key, cells }) => {
    const id = cells ? `row ${key}` : 'none';
    let row = known.get(id);
    if (!row) {
      row = make('tr');
      row.dataset.key = id;
      const count = cells ? heads.length : 1;
      for (let at = 0; at < count; at += 1) {
        const cell = make(at === 0 && cells ? 'th' : 'td');
        if (at === 0 && cells) cell.scope = 'row';
        // Figures stand to the right, and long texts wrap, as their head says.
        if (cells) cell.className = cell.dataset.base = ['n', 'long'].filter((name) => heads[at].classList.contains(name)).join(' ');
        if (!cells) cell.colSpan = heads.length;
        row.append(cell);
      }
    }
    known.delete(id);
    if (cells) cells.forEach((value, at) => fill(row.cells[at], value));
    else setText(row.cells[0], nothing);
    return row;
  });
  for (const row of known.values()) row.remove();
  // A row that stands where it should is not touched: an element that is moved loses the focus.
  ordered.forEach((row, at) => {
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
  });
}

export function fillList(list, texts) {
  const wanted = texts.map(String);
  const same = list.children.length === wanted.length && wanted.every((text, at) => list.children[at].textContent === text);
  if (!same) list.replaceChildren(...wanted.map((text) => make('li', text)));
}

export function fillFacts(list, facts) {
  while (list.children.length > facts.length * 2) list.lastChild.remove();
  facts.forEach(([name, value], at) => {
    if (!list.children[at * 2]) list.append(make('dt'), make('dd'));
    setText(list.children[at * 2], name);
    setText(list.children[at * 2 + 1], value ?? '–');
  });
}

export function bar(element, done, total, label) {
  element.max = total > 0 ? total : 1;
  element.value = total > 0 ? done : 1;
  if (label) element.setAttribute('aria-label', label);
}

// What must stand in a section of which the facts could not be read.
export function fault(section, message) {
  const line = $(section).querySelector('.fault');
  show(line, message !== null);
  setText(line, message === null ? '' : `Could not be read: ${message}`);
}
