//! What the settings of a workspace consist of.

use serde::{Deserialize, Serialize};

use crate::meili::error::Code;
use crate::meili::secret::masked;

/// Who makes the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    #[default]
    OpenAi,
    Mistral,
    AzureOpenAi,
    VLlm,
}

/// What else must be known to ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Text {
    OrgId,
    ProjectId,
    ApiVersion,
    DeploymentId,
    BaseUrl,
    ApiKey,
}

/// What the model is told. A client that sets none is shown the engine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Prompt {
    /// How the model is to behave.
    System,
    /// What searching is for.
    SearchDescription,
    /// What words to search for.
    SearchQParam,
    /// What a filter is.
    SearchFilterParam,
    /// What an index is.
    SearchIndexUidParam,
}

// === impl Source ===

impl Source {
    /// As the engine lists them.
    pub const ALL: &'static [Self] = &[Self::OpenAi, Self::Mistral, Self::AzureOpenAi, Self::VLlm];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openAi",
            Self::Mistral => "mistral",
            Self::AzureOpenAi => "azureOpenAi",
            Self::VLlm => "vLlm",
        }
    }
}

// === impl Text ===

impl Text {
    /// As the engine lists them.
    pub const ALL: &'static [Self] =
        &[Self::OrgId, Self::ProjectId, Self::ApiVersion, Self::DeploymentId, Self::BaseUrl, Self::ApiKey];

    /// Its name in the API.
    pub fn key(self) -> &'static str {
        match self {
            Self::OrgId => "orgId",
            Self::ProjectId => "projectId",
            Self::ApiVersion => "apiVersion",
            Self::DeploymentId => "deploymentId",
            Self::BaseUrl => "baseUrl",
            Self::ApiKey => "apiKey",
        }
    }

    /// A value as answers and plans show it.
    pub fn shown(self, value: &str) -> String {
        match self {
            Self::ApiKey => masked(value),
            Self::OrgId | Self::ProjectId | Self::ApiVersion | Self::DeploymentId | Self::BaseUrl => value.to_owned(),
        }
    }

    /// Of one that is no text.
    pub fn code(self) -> Code {
        match self {
            Self::OrgId => Code::InvalidChatCompletionOrgId,
            Self::ProjectId => Code::InvalidChatCompletionProjectId,
            Self::ApiVersion => Code::InvalidChatCompletionApiVersion,
            Self::DeploymentId => Code::InvalidChatCompletionDeploymentId,
            Self::BaseUrl => Code::InvalidChatCompletionBaseApi,
            Self::ApiKey => Code::InvalidChatCompletionApiKey,
        }
    }
}

// === impl Prompt ===

impl Prompt {
    /// As the engine lists them.
    pub const ALL: &'static [Self] = &[
        Self::System,
        Self::SearchDescription,
        Self::SearchQParam,
        Self::SearchFilterParam,
        Self::SearchIndexUidParam,
    ];

    /// Its name in the API.
    pub fn key(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::SearchDescription => "searchDescription",
            Self::SearchQParam => "searchQParam",
            Self::SearchFilterParam => "searchFilterParam",
            Self::SearchIndexUidParam => "searchIndexUidParam",
        }
    }

    /// Of one that is no text.
    pub fn code(self) -> Code {
        match self {
            Self::System => Code::InvalidChatCompletionSystemPrompt,
            Self::SearchDescription => Code::InvalidChatCompletionSearchDescriptionPrompt,
            Self::SearchQParam => Code::InvalidChatCompletionSearchQueryParamPrompt,
            Self::SearchFilterParam => Code::InvalidChatCompletionSearchFilterParamPrompt,
            Self::SearchIndexUidParam => Code::InvalidChatCompletionSearchIndexUidParamPrompt,
        }
    }

    /// What answers of an engine of 1.50 show where nobody has set it.
    pub fn default(self) -> &'static str {
        match self {
            Self::System => concat!(
                "You are a highly capable research assistant with access to powerful search tools. IMPORTANT INSTRUCTIONS:1. ",
                "When answering questions, you MUST make multiple tool calls (at least 2-3) to gather comprehensive ",
                "information.2. Use different search queries for each tool call - vary keywords, rephrase questions, and ",
                "explore different semantic angles to ensure broad coverage.3. Always explicitly announce BEFORE making each ",
                "tool call by saying: \"I'll search for [specific information] now.\"4. Combine information from ALL tool calls ",
                "to provide complete, nuanced answers rather than relying on a single source.5. For complex topics, break down ",
                "your research into multiple targeted queries rather than using a single generic search. Meilisearch doesn't ",
                "use the colon (:) syntax to filter but rather the equal (=) one. Separate filters from query and keep the q ",
                "parameter empty if needed. Same for the filter parameter: keep it empty if need be. If you need to find ",
                "documents that CONTAINS keywords simply put the keywords in the q parameter do no use a filter for this ",
                "purpose. Whenever you get an error, read the error message and fix your error. ",
            ),
            Self::SearchDescription => concat!(
                "Query: 'best story about Rust before 2018' with year: 2018, 2020, 2021\nlabel: analysis, golang, ",
                "javascript\ntype: story, link\nvote: 300, 298, 278\n: {\"q\": \"\", \"filter\": \"category = Rust AND type = story AND ",
                "year < 2018 AND vote > 100\"}\nQuery: 'A black or green car that can go fast with red brakes' with ",
                "maxspeed_kmh: 200, 150, 130\ncolor: black, grey, red, green\nbrand: Toyota, Renault, Jeep, Ferrari\n: {\"q\": \"red ",
                "brakes\", \"filter\": \"maxspeed_kmh > 150 AND color IN ['black', green]\"}\nQuery: 'Superman movie released in ",
                "2018 or after' with year: 2018, 2020, 2021\ngenres: Drama, Comedy, Adventure, Fiction\n: ",
                "{\"q\":\"Superman\",\"filter\":\"genres IN [Adventure, Fiction] AND year >= 2018\"}",
            ),
            Self::SearchQParam => concat!(
                "The search query string used to find relevant documents in the index. This should contain keywords or phrases ",
                "that best represent what the user is looking for. More specific queries will yield more precise results.",
            ),
            Self::SearchFilterParam => concat!(
                "The search filter string used to find relevant documents in the index. It supports parentheses, `=`, `!=`, ",
                "`>=`, `>`, `<=`, `<`, `IN`, `NOT IN`, `TO`, `EXISTS`, `NOT EXISTS`, `IS NULL`, `IS NOT NULL`, `IS EMPTY`, `IS ",
                "NOT EMPTY`, `_geoRadius`, or `_geoBoundingBox`. Here is an example: \"price > 100 AND category = ",
                "'electronics'\". The following is a list of fields that can be filtered on: ",
            ),
            Self::SearchIndexUidParam => concat!(
                "The name of the index to search within. An index is a collection of documents organized for search. Selecting ",
                "the right index ensures the most relevant results for the user query.",
            ),
        }
    }
}
