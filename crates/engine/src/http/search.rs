//! Routes that search.

use miroir_words::action::Action;
use miroir_words::uid::IndexUid;

use super::access::{Access, invalid_key};
use super::{Answer, Call, SearchQueue, ok};
use crate::search::{self, FacetSearchQuery, MultiSearchQuery, SearchQuery, SimilarQuery};

pub async fn get(call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let query = SearchQuery::from_query(&call.query)?;
    run(call, index, query, access).await
}

pub async fn post(mut call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let query = SearchQuery::from_json(&call.json_bytes().await?)?;
    run(call, index, query, access).await
}

async fn run(call: Call, index: &str, mut query: SearchQuery, access: Access) -> Answer {
    let index = IndexUid::parse(index)?.into_string();
    query.restrict(access.search_filter(&index));
    let found = SearchQueue::run(&call.node, move |node| search::search(&node.engine.index(&index)?, &query)).await?;
    Ok(ok(&found))
}

pub async fn facet(mut call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let mut query = FacetSearchQuery::from_json(&call.json_bytes().await?)?;
    let index = IndexUid::parse(index)?.into_string();
    query.restrict(access.search_filter(&index));
    let found =
        SearchQueue::run(&call.node, move |node| search::facet_search(&node.engine.index(&index)?, &query)).await?;
    Ok(ok(&found))
}

pub async fn similar_get(call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let query = SimilarQuery::from_query(&call.query)?;
    similar(call, index, query, access).await
}

pub async fn similar_post(mut call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let query = SimilarQuery::from_json(&call.json_bytes().await?)?;
    similar(call, index, query, access).await
}

async fn similar(call: Call, index: &str, mut query: SimilarQuery, access: Access) -> Answer {
    let index = IndexUid::parse(index)?.into_string();
    query.restrict(access.search_filter(&index));
    let found = SearchQueue::run(&call.node, move |node| search::similar(&node.engine.index(&index)?, &query)).await?;
    Ok(ok(&found))
}

pub async fn multi(mut call: Call) -> Answer {
    let access = call.authorize(Action::Search, None)?;
    let query = MultiSearchQuery::from_json(&call.json_bytes().await?)?;
    let found = SearchQueue::run(&call.node, move |node| {
        let allowed =
            |index: &str| if access.sees(index) { Ok(access.search_filter(index)) } else { Err(invalid_key()) };
        search::multi_search(&node.engine, &query, &allowed)
    })
    .await?;
    Ok(ok(&found))
}
