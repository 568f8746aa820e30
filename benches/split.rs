//! How fast bodies are cut into documents and given their shards, in bytes of body per second.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use miroir::placement::document::shard_of;
use miroir::placement::written::Places;
use miroir::split::document::HiddenFields;
use miroir::split::primary_key::document_id;
use miroir::split::{Document, PayloadFormat, SplitError, Splitter};

const DOCUMENTS: usize = 20_000;
const CHUNK: usize = 64 << 10;

fn document(id: usize) -> String {
    format!(
        "{{\"id\":{id},\"name\":\"Saint-Étienne {id}\",\"country\":\"FR\",\"population\":{},\"elevation\":{},\
         \"alternatenames\":[\"Sankt Stefan\",\"San Esteban {id}\"],\"_geo\":{{\"lat\":{}.5,\"lng\":-1.25}},\
         \"description\":\"a city with \\\"quotes\\\" and some words, so that it is about as long as cities are\"}}",
        id * 37,
        id % 4000,
        id % 90
    )
}

fn bodies() -> [(&'static str, PayloadFormat, String); 3] {
    let documents: Vec<String> = (0..DOCUMENTS).map(document).collect();
    let records: String = (0..DOCUMENTS)
        .map(|id| {
            format!(
                "{id},\"Saint-Étienne, {id}\",FR,{},{}.5,\"a city of some words about as long as a city is\"\n",
                id * 37,
                id % 90
            )
        })
        .collect();
    [
        ("json array", PayloadFormat::Json, format!("[{}]", documents.join(",\n"))),
        ("ndjson", PayloadFormat::Ndjson, documents.join("\n")),
        (
            "csv",
            PayloadFormat::Csv { delimiter: b',' },
            format!("id,name,country,population:number,lat:number,description\n{records}"),
        ),
    ]
}

fn split(criterion: &mut Criterion) {
    let fields = HiddenFields::new(256);
    let written = Places::of_batch(1).take().expect("a batch has places");
    let mut group = criterion.benchmark_group("split");
    group.sample_size(20);
    for (name, format, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &body, |bencher, body| {
            let mut line = Vec::new();
            bencher.iter(|| {
                let mut count = 0;
                let mut take = |document: &Document<'_>| -> Result<(), SplitError> {
                    let id = document_id(document, "id").expect("each document has an id");
                    line.clear();
                    fields.splice(document.raw(), shard_of(&id, 256), written, &mut line);
                    count += black_box(&line).len();
                    Ok(())
                };
                let mut splitter = Splitter::new(format, 1 << 20);
                for chunk in body.as_bytes().chunks(CHUNK) {
                    splitter.push(chunk, &mut take).expect("the body is well-formed");
                }
                splitter.finish(&mut take).expect("the body is whole");
                count
            });
        });
    }
    group.finish();
}

criterion_group!(benches, split);
criterion_main!(benches);
