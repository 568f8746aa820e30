use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::meili::operation::route;
use crate::rules::asked::Told;
use crate::rules::subject::tests::caller;
use crate::rules::tested;
use crate::settings::{Report, Section};

fn read(rules: Value) -> (Vec<Rule>, Vec<String>) {
    let report = Report::default();
    let mut file = Section::new("", json!({"rules": rules}), &report);
    let rules = tested::read(&mut file);
    file.finish();
    (rules, report.into_parts().0.iter().map(ToString::to_string).collect())
}

fn rules(rules: Value) -> Vec<Rule> {
    let (rules, problems) = read(rules);
    assert!(problems.is_empty(), "{problems:?}");
    rules
}

fn problems(rule: Value) -> Vec<String> {
    let mut rule = rule;
    rule["name"] = "r".into();
    read(json!([rule])).1
}

fn asked(request: &str, body: Value) -> Asked {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    Asked::new(method, path, query, body, route(method, path).unwrap())
}

fn run(of: Value, request: &str, body: Value, caller: &Caller<'_>) -> (Result<Told, ResponseError>, Done) {
    let (mut asked, mut done) = (asked(request, body), Done::default());
    let book = RuleBook::new(rules(of)).unwrap();
    let limits = Limits::default();
    let meter = Meter {
        limits: &limits,
        under_way: &UnderWay::default(),
        now: Duration::from_secs(1),
        deadlines: Deadlines::none(),
    };
    let outcome = book.apply(&mut asked, caller, &meter, &mut done).map_err(|refused| refused.error);
    (outcome.map(|()| asked.finish().unwrap()), done)
}

fn body(told: &Told) -> Value {
    serde_json::from_slice(&told.body).unwrap()
}

#[test]
fn a_filter_follows_from_who_asks_in_every_form_of_a_search() {
    let tenant = json!([{"name": "tenant", "filter": "tenant = ${quote(claims.tenant)}"}]);
    let caller = caller(json!({"tenant": "a\"b"}), "", &[]);
    let rule = r#"tenant = "a\"b""#;
    for (request, asks, filter) in [
        ("POST /indexes/a/search", json!({"q": "x"}), json!(rule)),
        ("POST /indexes/a/search", json!({"filter": "x = 1 OR y = 2"}), json!(["x = 1 OR y = 2", rule])),
        ("POST /indexes/a/search", json!({"filter": [["x = 1", "y = 2"]]}), json!([["x = 1", "y = 2"], rule])),
        ("POST /indexes/a/search", json!({"filter": null}), json!(rule)),
        ("GET /indexes/a/search?q=x&filter=x+%3D+1", Value::Null, json!(["x = 1", rule])),
        ("GET /indexes/a/search", Value::Null, json!(rule)),
        ("POST /indexes/a/facet-search", json!({"facetName": "x"}), json!(rule)),
        ("GET /indexes/a/similar?id=1&embedder=e", Value::Null, json!(rule)),
        ("GET /indexes/a/documents?limit=2", Value::Null, json!(rule)),
        ("POST /indexes/a/documents/fetch", json!({}), json!(rule)),
    ] {
        let told = run(tenant.clone(), request, asks, &caller).0.unwrap();
        assert_eq!(body(&told)["filter"], filter, "{request}");
    }
    let several = json!({"queries": [{"indexUid": "a"}, {"indexUid": "b", "filter": "x = 1"}]});
    let told = run(tenant, "POST /multi-search", several, &caller).0.unwrap();
    let wanted = json!({"queries": [{"indexUid": "a", "filter": rule}, {"indexUid": "b", "filter": ["x = 1", rule]}]});
    assert_eq!(body(&told), wanted);
}

#[test]
fn a_request_that_lacks_what_a_rule_needs_is_refused_or_passed_over() {
    let rule = |missing: &str| json!([{"name": "t", "filter": "t = ${quote(claims.t)}", "missing": missing}]);
    let nobody = caller(json!({}), "", &[]);
    let several = json!({"queries": [{"indexUid": "a"}]});
    let error = run(rule("refuse"), "POST /multi-search", several, &nobody).0.unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (403, "miroir_refused"));
    assert!(error.message.starts_with("Inside `.queries[0]`: The request lacks"), "{}", error.message);
    let (told, done) = run(rule("skip"), "POST /indexes/a/search", json!({"q": "x"}), &nobody);
    assert_eq!((body(&told.unwrap()), done.skipped), (json!({"q": "x"}), vec![0]));
}

#[test]
fn parameters_are_set_given_where_missing_and_removed() {
    let rule = json!([{"name": "r", "set": {"matchingStrategy": "all", "locales": ["${claims.lang}"]},
        "default": {"limit": 5, "q": "${headers.x-q}"}, "remove": ["showRankingScore"]}]);
    let caller = caller(json!({"lang": "fra"}), "", &[("x-q", "shoe")]);
    let asks = json!({"limit": 7, "showRankingScore": true});
    let told = run(rule, "POST /indexes/a/search", asks, &caller).0.unwrap();
    assert_eq!(body(&told), json!({"limit": 7, "q": "shoe", "matchingStrategy": "all", "locales": ["fra"]}));
}

#[test]
fn rules_are_done_in_order_until_one_stops() {
    let set = |name: &str, limit: u64, stop: bool| json!({"name": name, "set": {"limit": limit}, "stop": stop});
    let nobody = caller(json!({}), "", &[]);
    let (told, done) = run(
        json!([set("a", 1, false), set("b", 2, true), set("c", 3, false)]),
        "POST /indexes/a/search",
        json!({}),
        &nobody,
    );
    assert_eq!((body(&told.unwrap()), done.held), (json!({"limit": 2}), vec![0, 1]));
}

#[test]
fn another_index_is_asked_and_later_rules_see_it() {
    let rules = json!([
        {"name": "route", "indexes": ["products"], "route": "products_${claims.region}"},
        {"name": "b", "indexes": ["products_eu"], "set": {"limit": 1}},
    ]);
    let caller = caller(json!({"region": "eu"}), "", &[]);
    let told = run(rules.clone(), "GET /indexes/products/search?q=x", Value::Null, &caller).0.unwrap();
    assert_eq!((told.path.as_str(), told.operation.name()), ("/indexes/products_eu/search", "searchPost"));
    let several = json!({"queries": [{"indexUid": "products"}, {"indexUid": "other"}]});
    let told = run(rules, "POST /multi-search", several, &caller).0.unwrap();
    assert_eq!(body(&told), json!({"queries": [{"indexUid": "products_eu", "limit": 1}, {"indexUid": "other"}]}));
    let bad = caller_of("../x");
    let route = json!([{"name": "route", "route": "p_${claims.region}"}]);
    let error = run(route, "POST /indexes/a/search", json!({}), &bad).0.unwrap_err();
    assert_eq!(error.code, "invalid_index_uid");
}

fn caller_of(region: &str) -> Caller<'static> {
    caller(json!({"region": region}), "", &[])
}

#[test]
fn a_refusal_holds_for_all_that_a_request_names() {
    let rule = json!([{"name": "office", "on": "writes", "indexes": ["a"], "unless": {"clients": ["10.0.0.0/8"]},
        "refuse": {"status": 451, "message": "Not from ${client.ip}."}}]);
    let (home, office) = (caller(json!({}), "192.0.2.1", &[]), caller(json!({}), "10.0.0.1", &[]));
    for (request, asks) in [
        ("POST /indexes/a/documents", Value::Null),
        ("DELETE /indexes/a", Value::Null),
        ("POST /swap-indexes", json!([{"indexes": ["b", "a"]}])),
        ("POST /indexes", json!({"uid": "a"})),
    ] {
        let error = run(rule.clone(), request, asks.clone(), &home).0.unwrap_err();
        assert_eq!((error.status, error.message.as_str()), (451, "Not from 192.0.2.1."), "{request}");
        assert!(run(rule.clone(), request, asks, &office).0.is_ok(), "{request}");
    }
    assert!(run(rule, "POST /indexes/b/documents", Value::Null, &home).0.is_ok());
}

#[test]
fn several_searches_are_bounded_together_and_each() {
    let rule = json!([{"name": "cap", "on": ["search", "multiSearch"], "cap": {"queries": 1, "limit": 3}}]);
    let nobody = caller(json!({}), "", &[]);
    let queries = |count: usize| json!({"queries": vec![json!({"indexUid": "a"}); count]});
    assert_eq!(run(rule.clone(), "POST /multi-search", queries(2), &nobody).0.unwrap_err().status, 400);
    let told = run(rule, "POST /multi-search", queries(1), &nobody).0.unwrap();
    assert_eq!(body(&told), json!({"queries": [{"indexUid": "a", "limit": 3}]}));
}

#[test]
fn answers_get_headers_and_log_lines_labels() {
    let rule =
        json!([{"name": "h", "header": {"X-Served-For": "${claims.tenant}"}, "label": "tenant ${claims.tenant}"}]);
    let ours = caller(json!({"tenant": "a"}), "", &[]);
    let done = run(rule.clone(), "GET /indexes", Value::Null, &ours).1;
    assert_eq!(done.headers, [("x-served-for".parse().unwrap(), "a".parse().unwrap())]);
    assert_eq!(done.labels, ["tenant a"]);
    let evil = caller(json!({"tenant": "a\r\nSet-Cookie: x"}), "", &[]);
    assert_eq!(run(rule, "GET /indexes", Value::Null, &evil).1.headers, []);
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let caller = caller(json!({}), "10.0.0.1", &[]);
    let limits = Limits::default();
    let ask = |shadow: bool, now: u64| {
        let limit = json!({"by": "client.ip", "rate": "1/m", "burst": 2, "shadow": shadow});
        let book = RuleBook::new(rules(json!([{"name": "rate", "on": "search", "limit": limit}]))).unwrap();
        let (mut asked, mut done) = (asked("POST /indexes/a/search", json!({})), Done::default());
        let meter = Meter {
            limits: &limits,
            under_way: &UnderWay::default(),
            now: Duration::from_secs(now),
            deadlines: Deadlines::none(),
        };
        (book.apply(&mut asked, &caller, &meter, &mut done).map_err(|refused| refused.error), done)
    };
    let header = |done: &Done, name: &str| {
        let found = done.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.to_str().unwrap().to_owned())
    };
    assert!(ask(false, 100).0.is_ok() && ask(false, 100).0.is_ok());
    let (refused, done) = ask(false, 130);
    assert_eq!(refused.map_err(|error| (error.status, error.code)), Err((429, "miroir_rate_limited".to_owned())));
    assert_eq!(header(&done, "retry-after").as_deref(), Some("30"));
    assert_eq!(header(&done, RATE_LIMIT_POLICY).as_deref(), Some("\"rate\";q=2;w=120"));
    assert_eq!(header(&done, RATE_LIMIT).as_deref(), Some("\"rate\";r=0;t=90"));
    let (allowed, done) = ask(true, 130);
    assert_eq!((allowed, done.shadowed, done.headers), (Ok(()), vec![0], vec![]));
    assert!(ask(false, 160).0.is_ok());
}

#[test]
fn conditions_and_programs_are_part_of_a_rule() {
    let caller = caller(json!({"plan": "free"}), "", &[]);
    let rule = json!([{"name": "sku", "on": "search", "when": "search.q.len() >= 5 && claims.plan == \"free\"",
        "run": "search.q = search.q.to_upper(); search.limit = params.most;", "params": {"most": 3}}]);
    let told = run(rule.clone(), "GET /indexes/a/search?q=ab-12&limit=9", Value::Null, &caller).0.unwrap();
    assert_eq!(body(&told), json!({"q": "AB-12", "limit": 3}));
    let short = json!({"q": "ab", "limit": 9});
    assert_eq!(body(&run(rule, "POST /indexes/a/search", short.clone(), &caller).0.unwrap()), short);
    let thrown = json!([{"name": "no", "on": "search", "run": "throw \"Not so long.\""}]);
    let error = run(thrown, "POST /indexes/a/search", json!({}), &caller).0.unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (400, "Not so long."));
    for broken in
        ["search.limit = 1; loop {}", "search.filter = \"x = 1\"", "search.indexUid = \"b\"", "search.q.nothing()"]
    {
        let rule = |on_error: &str| json!([{"name": "broken", "on": "search", "run": broken, "on_error": on_error}]);
        let error = run(rule("refuse"), "POST /indexes/a/search", short.clone(), &caller).0.unwrap_err();
        assert_eq!((error.status, error.message.as_str()), (500, "Rule `broken` has failed."), "{broken}");
        let (told, done) = run(rule("skip"), "POST /indexes/a/search", short.clone(), &caller);
        assert_eq!((body(&told.unwrap()), done.failed.len()), (short.clone(), 1), "{broken}");
    }
}

#[test]
fn a_rule_that_cannot_be_right_is_a_problem() {
    for (rule, path) in [
        (json!({}), "rules[0].name"),
        (json!({"filter": "t = ${claims.t}"}), "rules[0].filter"),
        (json!({"filter": "t = 1", "on": ["search", "getDocument"]}), "rules[0].on"),
        (json!({"set": {"filter": "x"}}), "rules[0].set"),
        (json!({"set": {"indexUid": "x"}}), "rules[0].set"),
        (json!({"set": {"_miroir": 1}}), "rules[0].set"),
        (json!({"remove": ["filter"]}), "rules[0].remove"),
        (json!({"refuse": {"status": 200}}), "rules[0].refuse"),
        (json!({"refuse": {}, "set": {"limit": 1}}), "rules[0].refuse"),
        (json!({"route": "a b"}), "rules[0].route"),
        (json!({"on": "multiSearch", "route": "a"}), "rules[0].on"),
        (json!({"header": {"Server": "x"}}), "rules[0].header"),
        (json!({"header": {"X-Miroir-Degraded": "x"}}), "rules[0].header"),
        (json!({"cap": {"limits": 1}}), "rules[0].cap.limits"),
        (json!({"mirror": {}}), "rules[0].mirror"),
        (json!({"mirror": {"to": "b"}, "on": ["search", "similar"]}), "rules[0].on"),
        (json!({"on_task": {"status": "failed"}}), "rules[0].on_task.url"),
        (json!({"on_task": {"url": "http://a"}, "on": "search"}), "rules[0].on_task"),
        (json!({"on_task": {"url": "http://a"}, "when": "true"}), "rules[0].on_task"),
        (json!({"on_task": {"url": "http://a"}, "label": "x"}), "rules[0].on_task"),
        (json!({"refuse": {}, "when": "x =="}), "rules[0].when"),
        (json!({"run": "nobody.q = 1"}), "rules[0].run"),
        (json!({"refuse": {}, "params": {"a": 1}}), "rules[0].params"),
        (json!({"mask": ["a"], "when": "true"}), "rules[0].when"),
        (json!({"mask": ["a"], "on": "search"}), "rules[0].on"),
        (json!({"mask": ["a"], "set": {"limit": 1}}), "rules[0].mask"),
        (json!({"mask": ["a*b"]}), "rules[0].mask"),
        (json!({"limit": {"rate": "1/s"}}), "rules[0].limit"),
        (json!({"refuse": {}, "examples": [{"request": "POST /indexes/a/search"}]}), "rules[0].examples[0]"),
    ] {
        let found = problems(rule.clone());
        assert!(found.iter().any(|problem| problem.starts_with(path)), "{rule}: {found:?}");
    }
    let twice = rules(json!([{"name": "a", "refuse": {}}, {"name": "b", "refuse": {}}, {"name": "a", "refuse": {}}]));
    assert_eq!(repeated(&twice).into_iter().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_mask_shows_by_examples_what_it_hides() {
    let mask = |example: Value| {
        problems(json!({"mask": ["cost"], "unless": {"claims": {"role": "buyer"}}, "examples": [example]}))
    };
    let answer = json!({"hits": [{"id": 1, "cost": 7}]});
    let shown = |claims: Value, gives: Value| {
        mask(
            json!({"request": "POST /indexes/a/search", "claims": claims, "body": {}, "answer": answer, "gives": gives}),
        )
    };
    assert_eq!(shown(json!({}), json!({"hits": [{"id": 1}]})), [] as [String; 0]);
    assert_eq!(shown(json!({"role": "buyer"}), answer.clone()), [] as [String; 0]);
    assert_eq!(shown(json!({}), answer.clone()).len(), 1);
    let asks = |body: Value| json!({"request": "POST /indexes/a/search", "searchable": ["name"], "body": body, "refused": 403});
    assert_eq!(mask(asks(json!({"sort": ["cost:asc"]}))), [] as [String; 0]);
    assert_eq!(mask(asks(json!({"q": "x"}))).len(), 1);
}

#[test]
fn searches_are_mirrored_as_they_go_on() {
    let caller = caller(json!({}), "", &[]);
    let rule = json!([{"name": "shadow", "indexes": ["a"], "mirror": {"to": "${request.index}_b", "share": "1%"}}]);
    let mirrored = |request: &str, body: Value| -> Vec<(Option<usize>, String)> {
        let done = run(rule.clone(), request, body, &caller).1;
        done.mirrored.into_iter().map(|mirrored| (mirrored.query, mirrored.to)).collect()
    };
    let own = vec![(None, "a_b".to_owned())];
    assert_eq!(mirrored("GET /indexes/a/search?q=x", Value::Null), own);
    assert_eq!(mirrored("POST /indexes/a/search", json!({})), own);
    assert_eq!(mirrored("POST /indexes/b/search", json!({})), []);
    assert_eq!(mirrored("POST /indexes/a/facet-search", json!({"facetName": "x"})), []);
    let several = json!({"queries": [{"indexUid": "b"}, {"indexUid": "a"}]});
    assert_eq!(mirrored("POST /multi-search", several), [(Some(1), "a_b".to_owned())]);
    let lost = json!([{"name": "shadow", "mirror": {"to": "${claims.x}"}, "missing": "skip"}]);
    assert_eq!(run(lost, "POST /indexes/a/search", json!({}), &caller).1.mirrored, []);
    let example = |mirrored: &str| {
        problems(json!({"mirror": {"to": "b", "share": "1%"}, "examples": [
            {"request": "POST /indexes/a/search", "body": {}, "mirrored": mirrored}]}))
    };
    assert_eq!((example("b").len(), example("c").len()), (0, 1));
}

#[test]
fn examples_are_run() {
    let with =
        |example: Value| problems(json!({"indexes": ["a"], "filter": "t = ${quote(claims.t)}", "examples": [example]}));
    let search = json!({"request": "POST /indexes/a/search", "claims": {"t": "x"}, "body": {"limit": 1}});
    let and = |more: Value| {
        let mut example = search.clone();
        example.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with(example)
    };
    assert_eq!(
        and(json!({"gives": {"limit": 1, "filter": "t = \"x\""}, "index": "a", "held": true})),
        [] as [String; 0]
    );
    assert_eq!(and(json!({"claims": {}, "refused": 403})), [] as [String; 0]);
    for wrong in [
        json!({"gives": {"limit": 1}}),
        json!({"index": "b"}),
        json!({"held": false}),
        json!({"refused": 403}),
        json!({"claims": {}}),
        json!({"request": "POST /indexes/a/search/x"}),
        json!({"what": 1}),
    ] {
        assert_eq!(and(wrong.clone()).len(), 1, "{wrong}");
    }
}
