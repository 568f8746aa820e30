"""A session of the official Python client through Miroir."""
import os

import meilisearch

client = meilisearch.Client(os.environ["MIROIR_URL"], os.environ.get("MIROIR_KEY"))
UID = "sdk-python"


def done(task):
    end = client.wait_for_task(task.task_uid, timeout_in_ms=60_000)
    assert end.status == "succeeded", end
    return end


assert client.health()["status"] == "available"
done(client.create_index(UID, {"primaryKey": "id"}))
index = client.index(UID)
done(index.update_settings({"filterableAttributes": ["year"], "sortableAttributes": ["year"], "stopWords": ["the"]}))
done(index.add_documents([
    {"id": 1, "title": "The Third Man", "year": 1949},
    {"id": 2, "title": "Carol", "year": 2015},
    {"id": 3, "title": "Paris, Texas", "year": 1984},
]))
done(index.update_documents([{"id": 2, "country": "US"}]))
assert [hit["id"] for hit in index.search("paris")["hits"]] == [3]
found = index.search("", {"filter": "year > 1950", "sort": ["year:desc"], "facets": ["year"]})
assert [hit["id"] for hit in found["hits"]] == [2, 3], found
assert found["facetDistribution"]["year"] == {"1984": 1, "2015": 1}, found
assert index.get_document(2).country == "US"
assert index.get_stats().number_of_documents == 3
assert index.get_settings()["filterableAttributes"] == ["year"]
assert index.get_documents({"limit": 2}).total == 3
done(index.delete_document(1))
assert client.get_tasks({"indexUids": [UID], "statuses": ["succeeded"]}).total >= 5
done(client.delete_index(UID))
print("python: ok")
