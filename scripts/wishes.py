#!/usr/bin/env python3
"""The ten commonest wishes of programs and rules, each shown on a demo cluster: before its file of conf/programs is taken in, and after.

  wishes.py --miroir target/debug/miroir [--only tenant,mask]

It starts `miroir demo` with three nodes, says in the gateway's configuration which files of rules hold, reads it again by `POST /reload`, and
asks the same before and after. What comes is printed and must be what the wish is about: the exit status is 1 otherwise.
Nothing but the Python standard library.
"""
import argparse, base64, gzip, hashlib, hmac, http.server, json, os, pathlib, re, socket, subprocess, sys, tempfile, threading, time
import urllib.error, urllib.request

MASTER = 'the-master-key-of-the-demo'
PROGRAMS = pathlib.Path(__file__).resolve().parent.parent / 'conf' / 'programs'
PRODUCTS = [{'id': n, 'name': f'{"red" if n % 2 else "blue"} chair {n}', 'color': 'red' if n % 2 else 'blue', 'price': 10.0 + n,
             'cost_price': 4.0 + n, 'supplier': {'name': 'Ann'}, 'stock': n % 3, 'tags': ['seat']} for n in range(1, 131)]
ORDERS = [{'id': n, 'tenant_id': 'acme' if n % 3 else 'brown', 'what': f'chair {n}'} for n in range(1, 10)]


class Api:
    """One listener of the gateway, as one caller sees it."""

    def __init__(self, url, key=None, headers=()):
        self.url, self.key, self.headers = url, key, dict(headers)

    def by(self, key=None, **headers):
        return Api(self.url, key or self.key, {name.replace('_', '-'): value for name, value in headers.items()})

    def call(self, method, path, body=None):
        headers = {'Content-Type': 'application/json', **self.headers}
        if self.key:
            headers['Authorization'] = 'Bearer ' + self.key
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, lower(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, lower(error.headers), error.read()

    def ask(self, method, path, body=None):
        """Prints what is asked and what comes of it; a status and JSON."""
        status, headers, text = self.call(method, path, body)
        answer = json.loads(text) if text else {}
        said = '' if body is None else ' ' + json.dumps(body)
        print(f'    {method} {path}{said[:150]}\n      -> {status} {short(answer)}')
        for name in ('x-variant', 'ratelimit', 'retry-after'):
            if name in headers:
                print(f'         {name}: {headers[name]}')
        return status, answer, headers

    def done(self, method, path, body=None):
        status, _, text = self.call(method, path, body)
        assert status in (200, 201, 202), (method, path, status, text)
        uid = json.loads(text).get('taskUid')
        for _ in range(6000):
            if uid is None:
                return None
            _, _, text = self.call('GET', f'/tasks/{uid}')
            task = json.loads(text)
            if task['status'] in ('succeeded', 'failed', 'canceled'):
                return task
            time.sleep(0.02)
        raise SystemExit(f'task {uid} does not end')


class Shop(http.server.BaseHTTPRequestHandler):
    """Whom the webhook tells."""
    told = []

    def do_POST(self):
        # In chunks, as an engine sends it.
        body = b''
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        Shop.told += [json.loads(line) for line in gzip.decompress(body).splitlines() if line.strip()]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


def short(answer):
    if 'hits' in answer:
        hits = answer['hits'][:2]
        total = answer.get('estimatedTotalHits', answer.get('totalHits'))
        return f'{len(answer["hits"])} hits of {total}, limit {answer.get("limit")}: {json.dumps(hits)[:260]}'
    return json.dumps(answer)[:260]


def token(uid, secret, claims):
    """A tenant token, signed with the key of this uid."""
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b'=')
    payload = {'apiKeyUid': uid, 'searchRules': ['*'], **claims}
    head = part(b'{"alg":"HS256","typ":"JWT"}') + b'.' + part(json.dumps(payload).encode())
    return (head + b'.' + part(hmac.new(secret.encode(), head, hashlib.sha256).digest())).decode()


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


class Demo:
    """`miroir demo`, whose gateway takes the master key and files of rules while it runs."""

    def __init__(self, miroir, folder):
        self.folder, port = folder, free_port()
        log = open(folder / 'demo.log', 'w')
        data = PROGRAMS.parent.parent / 'examples' / 'data' / 'cities.ndjson'
        command = [miroir, 'demo', '--port', str(port), '--dir', str(folder / 'data'), '--data', str(data)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.time() + 300
        while 'Ctrl-C ends the demo' not in (folder / 'demo.log').read_text():
            if self.process.poll() is not None or time.time() > until:
                raise SystemExit('the demo does not run:\n' + (folder / 'demo.log').read_text())
            time.sleep(0.2)
        self.file = folder / 'data' / 'miroir.yaml'
        self.config = json.loads(self.file.read_text())
        self.admin = Api('http://' + self.config['admin'])
        self.metrics = Api('http://' + self.config['metrics'])
        self.api = Api(f'http://127.0.0.1:{port}', MASTER)

    def reload(self, **more):
        """The demo's own configuration and `more`."""
        self.file.write_text(json.dumps({**self.config, 'master_key': MASTER, **more}, indent=2))
        status, _, text = self.admin.call('POST', '/reload', {})
        assert status == 200, text.decode()
        self.admin.key = MASTER
        print(f'    POST /reload -> {short({k: v for k, v in json.loads(text).items() if k in ("sections", "atNextStart")})}')

    def rules(self, name, edit=lambda text: text, **more):
        text = edit((PROGRAMS / f'{name}.yaml').read_text())
        (self.folder / 'data' / f'{name}.yaml').write_text(text)
        print(f'  with conf/programs/{name}.yaml:')
        self.reload(rule_files=[f'{name}.yaml'], **more)

    def metric(self, series):
        _, _, text = self.metrics.call('GET', '/metrics')
        found = re.search('^' + re.escape(series) + r' (\S+)$', text.decode(), re.M)
        return float(found.group(1)) if found else 0.0

    def key(self, actions):
        status, _, text = self.api.call('POST', '/keys', {'actions': actions, 'indexes': ['*'], 'expiresAt': None})
        assert status == 201, text
        key = json.loads(text)
        return key['uid'], key['key']

    def end(self):
        self.process.send_signal(2)
        self.process.wait(60)


def fields(hits):
    return sorted({name for hit in hits for name in hit})


def tenant(demo):
    uid, secret = demo.key(['search'])
    acme, brown = (demo.api.by(token(uid, secret, {'tenant': name})) for name in ('acme', 'brown'))
    ask = lambda caller: caller.ask('POST', '/indexes/orders/search', {'q': 'chair', 'limit': 9})[1]['hits']
    yield len(ask(acme)) == 9
    demo.rules('tenant')
    yield {hit['tenant_id'] for hit in ask(acme)} == {'acme'} and {hit['tenant_id'] for hit in ask(brown)} == {'brown'}
    yield acme.ask('POST', '/indexes/orders/search', {'filter': 'tenant_id = brown'})[1]['hits'] == []
    yield demo.api.ask('POST', '/indexes/orders/search', {'q': 'chair'})[0] == 403


def ab(demo):
    ask = lambda user: demo.api.by(X_User_Id=user).ask('POST', '/indexes/products/search', {'q': 'chair', 'limit': 1})[1]['hits'][0]
    yield 'variant' not in ask('u14')
    demo.rules('ab')
    yield ask('u14').get('variant') == 'b' and 'variant' not in ask('u1')
    yield all(ask('u14').get('variant') == 'b' for _ in range(2))


def mask(demo):
    uid, secret = demo.key(['search'])
    anybody, buyer = demo.api.by(secret), demo.api.by(token(uid, secret, {'role': 'buyer'}))
    ask = lambda caller: fields(caller.ask('POST', '/indexes/products/search', {'q': 'chair', 'limit': 1})[1]['hits'])
    yield 'cost_price' in ask(anybody)
    demo.rules('mask')
    yield 'cost_price' not in ask(anybody) and 'cost_price' in ask(buyer)
    yield anybody.ask('POST', '/indexes/products/search', {'filter': 'cost_price > 6'})[0] == 403
    yield anybody.ask('POST', '/indexes/products/search', {'q': 'ann'})[1]['hits'] == []


def rewrite(demo):
    body = {'q': 'chair', 'showRankingScoreDetails': True}
    ask = lambda: demo.api.by(X_Language='eng').ask('POST', '/indexes/products/search', body)[1]
    before = ask()
    yield before['limit'] == 20 and '_rankingScoreDetails' in before['hits'][0]
    demo.rules('rewrite')
    after = ask()
    yield after['limit'] == 24 and fields(after['hits']) == ['id', 'name', 'price']


def validate(demo):
    wrong, right = [{'id': 900, 'name': 'stool', 'price': 'ten'}], [{'id': 901, 'name': 'stool', 'price': 10.5, 'internal_notes': 'ask Ann'}]
    add = lambda documents: demo.api.ask('POST', '/indexes/products/documents', documents)[0]
    yield add(wrong) == 202
    demo.rules('validate')
    yield add(wrong) == 400
    demo.api.done('POST', '/indexes/products/documents', right)
    yield demo.api.ask('GET', '/indexes/products/documents/901')[1] == {'id': 901, 'name': 'stool', 'price': 10.5, 'currency': 'EUR'}


def caps(demo):
    ask = lambda body: demo.api.ask('POST', '/indexes/products/search', body)
    yield len(ask({'limit': 5000, 'attributesToRetrieve': ['id']})[1]['hits']) > 100
    demo.rules('caps')
    yield len(ask({'limit': 5000, 'attributesToRetrieve': ['id']})[1]['hits']) == 100
    yield ask({'q': 'x' * 600})[0] == 400


def rate(demo):
    # Each search of several counts.
    several = {'queries': [{'indexUid': 'products', 'limit': 0}] * 150}
    yield demo.api.ask('POST', '/multi-search', several)[0] == 200
    demo.rules('rate')
    yield demo.api.ask('POST', '/indexes/products/search', {'limit': 0})[2].get('ratelimit') is not None
    status, _, headers = demo.api.ask('POST', '/multi-search', several)
    yield status == 429 and 'retry-after' in headers


def office(demo):
    add = lambda caller: caller.ask('POST', '/indexes/orders/documents', [ORDERS[0]])[0]
    outside, inside = demo.api.by(X_Forwarded_For='192.0.2.1'), demo.api.by(X_Forwarded_For='10.1.2.3')
    yield add(outside) == 202
    demo.rules('office', trusted_proxies={'hops': 1})
    yield add(outside) == 403 and add(inside) == 202
    yield outside.ask('POST', '/indexes/products/search', {'limit': 1})[0] == 200


def shadow(demo):
    search = lambda: demo.api.call('POST', '/indexes/products/search', {'q': 'red chair'})
    count = lambda: sum(demo.metric(f'miroir_mirrored_searches_total{{outcome="{outcome}",rule="shadow"}}') for outcome in ('same', 'differs'))
    [search() for _ in range(40)]
    yield count() == 0
    demo.rules('shadow')
    [search() for _ in range(100)]
    until = time.time() + 30
    while count() < 5 and time.time() < until:
        time.sleep(0.1)
    differs = demo.metric('miroir_mirrored_searches_total{outcome="differs",rule="shadow"}')
    print(f'    100 searches -> {count():.0f} asked again of products_next, {differs:.0f} of them answered otherwise')
    yield count() == 5 and differs == 5


def webhook(demo):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    add = lambda: demo.api.done('POST', '/indexes/products/documents', [PRODUCTS[0]])
    add()
    print(f'    a task ends -> {len(Shop.told)} told')
    yield Shop.told == []
    here = f'http://127.0.0.1:{server.server_port}/told'
    demo.rules('webhook', lambda text: re.sub(r'https://(ops|shop)\.example\S*', here, text))
    add()
    demo.api.done('POST', '/indexes/products/documents', [{'no': 'id'}])
    until = time.time() + 30
    while len(Shop.told) < 2 and time.time() < until:
        time.sleep(0.1)
    for task in Shop.told:
        print(f'    told: {task["type"]} of {task["indexUid"]} {task["status"]}')
    yield {task['status'] for task in Shop.told} == {'succeeded', 'failed'} and {task['indexUid'] for task in Shop.told} == {'products'}


WISHES = [
    (tenant, 'everybody finds only what is theirs'),
    (ab, 'a tenth of the visitors searches another index'),
    (mask, 'some keys do not see some fields'),
    (rewrite, 'searches are rewritten'),
    (validate, 'documents are checked and completed'),
    (caps, 'no search asks for too much'),
    (rate, 'nobody asks too often'),
    (office, 'writes come from known networks only'),
    (shadow, 'some searches are asked of another index, too, and compared'),
    (webhook, 'somebody is told when a task has ended'),
]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument('--miroir', default=os.environ.get('MIROIR_BIN', 'miroir'))
    arguments.add_argument('--only', default='')
    arguments = arguments.parse_args()
    only = [name for name in arguments.only.split(',') if name]
    failed = []
    with tempfile.TemporaryDirectory(prefix='miroir-wishes-') as folder:
        demo = Demo(arguments.miroir, pathlib.Path(folder))
        try:
            print('a demo of three nodes; it is given a master key while it runs:')
            demo.reload()
            for index, documents in (('products', PRODUCTS), ('products_next', PRODUCTS[:50]), ('orders', ORDERS),
                                     ('products_b', [{**product, 'variant': 'b'} for product in PRODUCTS])):
                settings = {'filterableAttributes': ['tenant_id', 'color', 'cost_price', 'supplier'], 'sortableAttributes': ['price']}
                demo.api.done('PATCH', f'/indexes/{index}/settings', settings)
                demo.api.done('POST', f'/indexes/{index}/documents?primaryKey=id', documents)
            for wish, what in WISHES:
                if only and wish.__name__ not in only:
                    continue
                print(f'\n{wish.__name__}: {what}\n  before:')
                holds = list(wish(demo))
                if not all(holds):
                    failed.append(wish.__name__)
                print(f'  {wish.__name__}: ' + ('as wished' if all(holds) else f'NOT as wished: {holds}'))
                demo.reload()
        finally:
            demo.end()
    shown = [wish.__name__ for wish, _ in WISHES if not only or wish.__name__ in only]
    print(f'\n{len(shown) - len(failed)} of {len(shown)} wishes are as wished' + (f'; not: {", ".join(failed)}' if failed else ''))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
