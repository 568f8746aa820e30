//! An object store, as backups need it: an upload part by part, and a download. Requests are signed in their URL (S3's fourth
//! signature), and sent by the command line's own client.
//!
//! Keys, region and address are taken from the environment, as other tools take them: `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, and `AWS_ENDPOINT_URL` for stores that are not Amazon's.

use std::io;
use std::time::Duration;

use rusty_s3::actions::{AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, UploadPart};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};

/// For how long a signature is good.
const GOOD_FOR: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(600);
/// A store takes no smaller parts, but for the last.
const LEAST_PART: usize = 8 << 20;

/// An object of a store.
pub struct Object {
    bucket: Bucket,
    credentials: Credentials,
    key: String,
    agent: ureq::Agent,
}

/// An upload under way. Dropped before its end, the store is told to forget it.
pub struct Upload {
    object: Object,
    id: String,
    tags: Vec<String>,
    /// What is not enough for a part yet.
    rest: Vec<u8>,
    ended: bool,
}

/// Why an object cannot be written or read. No URL is shown: the signature is in it.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("`{0}` names no object: expected `s3://bucket/key`")]
    Name(String),
    #[error("the environment has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")]
    NoCredentials,
    #[error("AWS_ENDPOINT_URL: {0}")]
    Endpoint(String),
    #[error("the object store answered {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("the object store cannot be reached: {0}")]
    Unreachable(String),
    #[error("the object store's answer has no {0}")]
    Malformed(&'static str),
    #[error("the object cannot be written here: {0}")]
    Io(#[from] io::Error),
}

// === impl Object ===

impl Object {
    /// Of `s3://bucket/key`; `None` for what is no such name. `name` is the key's end where it has none.
    pub fn parse(text: &str, name: Option<&str>) -> Result<Option<Self>, ObjectError> {
        let Some(rest) = text.strip_prefix("s3://") else { return Ok(None) };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let key = match name {
            Some(name) if key.is_empty() || key.ends_with('/') => format!("{key}{name}"),
            Some(_) | None => key.to_owned(),
        };
        if bucket.is_empty() || key.is_empty() {
            return Err(ObjectError::Name(text.to_owned()));
        }
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let (endpoint, style) = match variable("AWS_ENDPOINT_URL") {
            Some(endpoint) => (endpoint, UrlStyle::Path),
            None => (format!("https://s3.{region}.amazonaws.com"), UrlStyle::VirtualHost),
        };
        let endpoint = endpoint.parse().map_err(|error: url::ParseError| ObjectError::Endpoint(error.to_string()))?;
        let bucket = Bucket::new(endpoint, style, bucket.to_owned(), region);
        let bucket = bucket.map_err(|error| ObjectError::Endpoint(error.to_string()))?;
        let credentials = Credentials::from_env().ok_or(ObjectError::NoCredentials)?;
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        Ok(Some(Self { bucket, credentials, key, agent: config.build().into() }))
    }

    /// Begins an upload.
    pub fn upload(self) -> Result<Upload, ObjectError> {
        let url = CreateMultipartUpload::new(&self.bucket, Some(&self.credentials), &self.key).sign(GOOD_FOR);
        let answer = self.exchange("POST", url.as_str(), b"")?;
        let created = CreateMultipartUpload::parse_response(text(answer)?);
        let id = created.map_err(|_| ObjectError::Malformed("id of an upload"))?.upload_id().to_owned();
        Ok(Upload { object: self, id, tags: Vec::new(), rest: Vec::new(), ended: false })
    }

    /// Writes the whole object to `to`.
    pub fn download(&self, to: &mut dyn io::Write) -> Result<(), ObjectError> {
        let url = self.bucket.get_object(Some(&self.credentials), &self.key).sign(GOOD_FOR);
        let mut answer = self.exchange("GET", url.as_str(), b"")?;
        io::copy(&mut answer.body_mut().as_reader(), to)?;
        Ok(())
    }

    fn exchange(&self, method: &str, url: &str, body: &[u8]) -> Result<ureq::http::Response<ureq::Body>, ObjectError> {
        let unreachable = |error: ureq::Error| ObjectError::Unreachable(error.to_string());
        let request = ureq::http::Request::builder().method(method).uri(url);
        let answer = if method == "GET" || method == "DELETE" {
            let request = request.body(()).map_err(|error| unreachable(error.into()))?;
            self.agent.run(request)
        } else {
            let request = request.body(body).map_err(|error| unreachable(error.into()))?;
            self.agent.run(request)
        };
        let answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let message = text(answer)?.chars().take(500).collect();
        Err(ObjectError::Refused { status, message })
    }
}

fn text(mut answer: ureq::http::Response<ureq::Body>) -> Result<String, ObjectError> {
    let read = answer.body_mut().with_config().limit(1 << 20).read_to_string();
    read.map_err(|error| ObjectError::Unreachable(error.to_string()))
}

// === impl Upload ===

impl Upload {
    /// Takes the next bytes.
    pub fn part(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() < LEAST_PART {
            return Ok(());
        }
        self.send()
    }

    /// Makes one object of all that was taken; its name.
    pub fn finish(mut self) -> Result<String, ObjectError> {
        self.send()?;
        let Object { bucket, credentials, key, .. } = &self.object;
        let tags = self.tags.iter().map(String::as_str);
        let action = CompleteMultipartUpload::new(bucket, Some(credentials), key, &self.id, tags);
        let url = action.sign(GOOD_FOR);
        let body = action.body();
        // A store may say 200 first and then that it failed.
        let answer = text(self.object.exchange("POST", url.as_str(), body.as_bytes())?)?;
        if answer.contains("<Error>") {
            return Err(ObjectError::Refused { status: 200, message: answer.chars().take(500).collect() });
        }
        self.ended = true;
        Ok(format!("s3://{}/{}", self.object.bucket.name(), self.object.key))
    }

    fn send(&mut self) -> Result<(), ObjectError> {
        let Object { bucket, credentials, key, .. } = &self.object;
        let number =
            u16::try_from(self.tags.len() + 1).map_err(|_| ObjectError::Malformed("room for so many parts"))?;
        let url = UploadPart::new(bucket, Some(credentials), key, number, &self.id).sign(GOOD_FOR);
        let answer = self.object.exchange("PUT", url.as_str(), &self.rest)?;
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
        self.tags.push(tag.ok_or(ObjectError::Malformed("tag of a part"))?.to_owned());
        self.rest.clear();
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let Object { bucket, credentials, key, .. } = &self.object;
        let url = AbortMultipartUpload::new(bucket, Some(credentials), key, &self.id).sign(GOOD_FOR);
        // Best effort: the store's own rules forget it in the end.
        let _ = self.object.exchange("DELETE", url.as_str(), b"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_object_is_refused_before_anything_is_asked() {
        assert!(matches!(Object::parse("/var/backups", Some("a.dump")), Ok(None)));
        for wrong in ["s3://", "s3:///key", "s3://bucket", "s3://bucket/"] {
            assert!(matches!(Object::parse(wrong, None), Err(ObjectError::Name(_))), "{wrong}");
        }
    }
}
