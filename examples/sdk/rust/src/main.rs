//! A session of the official Rust client through Miroir.

use std::time::Duration;

use meilisearch_sdk::client::Client;
use meilisearch_sdk::settings::Settings;
use meilisearch_sdk::task_info::TaskInfo;
use serde::{Deserialize, Serialize};

const UID: &str = "sdk-rust";

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Film {
    id: u32,
    title: String,
    year: u32,
}

fn film(id: u32, title: &str, year: u32) -> Film {
    Film { id, title: title.to_owned(), year }
}

async fn done(client: &Client, task: TaskInfo) {
    let end = task.wait_for_completion(client, None, Some(Duration::from_secs(60))).await.expect("the task ends");
    assert!(end.is_success(), "{end:?}");
}

#[tokio::main]
async fn main() {
    let url = std::env::var("MIROIR_URL").expect("MIROIR_URL");
    let client = Client::new(url, std::env::var("MIROIR_KEY").ok()).expect("a client");
    assert!(client.is_healthy().await);
    done(&client, client.create_index(UID, Some("id")).await.expect("accepted")).await;
    let index = client.index(UID);
    let settings = Settings::new().with_filterable_attributes(["year"]).with_sortable_attributes(["year"]);
    done(&client, index.set_settings(&settings).await.expect("accepted")).await;
    let films = [film(1, "The Third Man", 1949), film(2, "Carol", 2015), film(3, "Paris, Texas", 1984)];
    done(&client, index.add_documents(&films, Some("id")).await.expect("accepted")).await;

    let found = index.search().with_query("paris").execute::<Film>().await.expect("an answer");
    assert_eq!(found.hits[0].result, films[2]);
    let found = index.search().with_filter("year > 1950").with_sort(&["year:desc"]).execute::<Film>().await;
    let ids: Vec<u32> = found.expect("an answer").hits.iter().map(|hit| hit.result.id).collect();
    assert_eq!(ids, [2, 3]);
    assert_eq!(index.get_document::<Film>("2").await.expect("a document"), films[1]);
    assert_eq!(index.get_stats().await.expect("stats").number_of_documents, 3);
    done(&client, index.delete_document(1).await.expect("accepted")).await;
    done(&client, client.delete_index(UID).await.expect("accepted")).await;
    println!("rust: ok");
}
