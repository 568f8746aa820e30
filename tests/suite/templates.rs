//! Templates of embedders: what is embedded is what one node would embed.

use serde_json::{Value, json};

use crate::support::embedder::Embedder;
use crate::support::fleet::is_embedded;
use crate::support::{Client, Fleet, Single};

const INDEX: &str = "/indexes/books/settings/embedders";

fn without(mut embedder: Value, name: &str) -> Value {
    embedder.as_object_mut().expect("settings").shift_remove(name);
    embedder
}

#[test]
fn an_embedder_hears_of_a_document_what_one_node_tells_it() {
    let (single, fleet) = (Single::start(), Fleet::start());
    let (one, many) = ((&single.client, Embedder::start()), (&fleet.client, Embedder::start()));
    let documents =
        json!((0..12).map(|id| json!({"id": id, "title": format!("t{id}"), "year": 1990 + id})).collect::<Vec<_>>());
    let both = |step: &dyn Fn(&Client, &Embedder), one: &(&Client, Embedder), many: &(&Client, Embedder)| {
        for (client, embedder) in [one, many] {
            step(client, embedder);
        }
        let [mut want, mut got] = [one, many].map(|(client, _)| client.get(INDEX).ok());
        for shown in [&mut want, &mut got] {
            for (_, embedder) in shown.as_object_mut().expect("embedders") {
                *embedder = without(embedder.take(), "url");
            }
        }
        assert_eq!(want, got, "settings are shown as they were sent");
        let (want, got) = (one.1.texts(), many.1.texts());
        // The embedded engine is of an age that takes no guard, so templates with all fields show it the hidden ones.
        if !is_embedded() {
            assert_eq!(want, got);
        }
        want
    };
    let patch = |client: &Client, embedder: &Value| {
        client.done(&client.json("PATCH", "/indexes/books/settings", &json!({"embedders": {"e": embedder}})));
    };
    // The engine's own template: all fields.
    let step = |client: &Client, embedder: &Embedder| {
        patch(client, &without(embedder.settings(""), "documentTemplate"));
        client.add("books", &documents);
    };
    let heard = both(&step, &one, &many);
    assert!(heard.iter().any(|text| text.contains("title: t3\n")), "{heard:?}");
    // The same document again is not embedded again, and a changed one is.
    let step = |client: &Client, _: &Embedder| {
        client.add("books", &documents);
        client.add("books", &json!([{"id": 3, "title": "other"}]));
    };
    assert_eq!(both(&step, &one, &many).len(), 1);
    // A loop of the client's own, and then the engine's again.
    let own = "{%- for f in fields -%} {{ f.name }}={{ f.value }};{% endfor %}";
    for template in [json!(own), Value::Null] {
        let step = |client: &Client, _: &Embedder| patch(client, &json!({"documentTemplate": template}));
        assert!(!both(&step, &one, &many).is_empty(), "{template}");
    }
    // An embedder that is there keeps its template when something else of it changes.
    let step = |client: &Client, _: &Embedder| {
        patch(client, &json!({"documentTemplate": "{{ doc.title }}"}));
        patch(client, &json!({"apiKey": "sesame"}));
    };
    let heard = both(&step, &one, &many);
    assert!(heard.iter().all(|text| !text.contains("year")), "{heard:?}");
}
