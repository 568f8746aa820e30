//! Meilisearch's error codes and the one error shape that every answer uses.

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

/// The four classes of error that Meilisearch names in the field `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The request is at fault.
    InvalidRequest,
    /// The engine is.
    Internal,
    /// The key is missing, or not enough.
    Auth,
    /// What it runs on is: a full disk, too many open files, nodes that are away.
    System,
}

macro_rules! codes {
    ($($name:ident => $code:literal, $kind:ident, $status:literal;)+) => {
        /// A Meilisearch error code; each has one type and one HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = concat!("`", $code, "`")] $name),+ }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// The word in the field `code`, in snake case.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code),+ }
            }

            /// The `type` of an error with this code.
            pub fn error_type(self) -> ErrorType {
                match self { $(Code::$name => ErrorType::$kind),+ }
            }

            /// The HTTP status of an answer with this code.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status),+ }
            }
        }
    };
}

codes! {
    ApiKeyAlreadyExists => "api_key_already_exists", InvalidRequest, 409;
    ApiKeyNotFound => "api_key_not_found", InvalidRequest, 404;
    BadParameter => "bad_parameter", InvalidRequest, 400;
    BadRequest => "bad_request", InvalidRequest, 400;
    DatabaseSizeLimitReached => "database_size_limit_reached", Internal, 500;
    DocumentNotFound => "document_not_found", InvalidRequest, 404;
    DumpAlreadyProcessing => "dump_already_processing", InvalidRequest, 409;
    DumpNotFound => "dump_not_found", InvalidRequest, 404;
    DumpProcessFailed => "dump_process_failed", Internal, 500;
    DuplicateIndexFound => "duplicate_index_found", InvalidRequest, 400;
    ImmutableApiKeyActions => "immutable_api_key_actions", InvalidRequest, 400;
    ImmutableApiKeyCreatedAt => "immutable_api_key_created_at", InvalidRequest, 400;
    ImmutableApiKeyExpiresAt => "immutable_api_key_expires_at", InvalidRequest, 400;
    ImmutableApiKeyIndexes => "immutable_api_key_indexes", InvalidRequest, 400;
    ImmutableApiKeyKey => "immutable_api_key_key", InvalidRequest, 400;
    ImmutableApiKeyUid => "immutable_api_key_uid", InvalidRequest, 400;
    ImmutableApiKeyUpdatedAt => "immutable_api_key_updated_at", InvalidRequest, 400;
    ImmutableIndexCreatedAt => "immutable_index_created_at", InvalidRequest, 400;
    ImmutableIndexUid => "immutable_index_uid", InvalidRequest, 400;
    ImmutableIndexUpdatedAt => "immutable_index_updated_at", InvalidRequest, 400;
    IndexAlreadyExists => "index_already_exists", InvalidRequest, 409;
    IndexCreationFailed => "index_creation_failed", Internal, 500;
    IndexNotFound => "index_not_found", InvalidRequest, 404;
    IndexPrimaryKeyAlreadyExists => "index_primary_key_already_exists", InvalidRequest, 400;
    IndexPrimaryKeyMultipleCandidatesFound => "index_primary_key_multiple_candidates_found", InvalidRequest, 400;
    IndexPrimaryKeyNoCandidateFound => "index_primary_key_no_candidate_found", InvalidRequest, 400;
    Internal => "internal", Internal, 500;
    IndexScopedApiKeyWithGlobalAction => "index_scoped_api_key_with_global_action", InvalidRequest, 400;
    InvalidApiKey => "invalid_api_key", Auth, 403;
    InvalidApiKeyActions => "invalid_api_key_actions", InvalidRequest, 400;
    InvalidApiKeyDescription => "invalid_api_key_description", InvalidRequest, 400;
    InvalidApiKeyExpiresAt => "invalid_api_key_expires_at", InvalidRequest, 400;
    InvalidApiKeyIndexes => "invalid_api_key_indexes", InvalidRequest, 400;
    InvalidApiKeyLimit => "invalid_api_key_limit", InvalidRequest, 400;
    InvalidApiKeyName => "invalid_api_key_name", InvalidRequest, 400;
    InvalidApiKeyOffset => "invalid_api_key_offset", InvalidRequest, 400;
    InvalidApiKeyUid => "invalid_api_key_uid", InvalidRequest, 400;
    InvalidContentType => "invalid_content_type", InvalidRequest, 415;
    InvalidDocumentCsvDelimiter => "invalid_document_csv_delimiter", InvalidRequest, 400;
    InvalidDocumentFields => "invalid_document_fields", InvalidRequest, 400;
    InvalidDocumentRetrieveVectors => "invalid_document_retrieve_vectors", InvalidRequest, 400;
    MissingDocumentFilter => "missing_document_filter", InvalidRequest, 400;
    MissingDocumentEditionFunction => "missing_document_edition_function", InvalidRequest, 400;
    InvalidDocumentFilter => "invalid_document_filter", InvalidRequest, 400;
    InvalidDocumentGeoField => "invalid_document_geo_field", InvalidRequest, 400;
    ChatNotFound => "chat_not_found", InvalidRequest, 404;
    InvalidChatCompletionOrgId => "invalid_chat_completion_org_id", InvalidRequest, 400;
    InvalidChatCompletionProjectId => "invalid_chat_completion_project_id", InvalidRequest, 400;
    InvalidChatCompletionApiVersion => "invalid_chat_completion_api_version", InvalidRequest, 400;
    InvalidChatCompletionDeploymentId => "invalid_chat_completion_deployment_id", InvalidRequest, 400;
    InvalidChatCompletionBaseApi => "invalid_chat_completion_base_api", InvalidRequest, 400;
    InvalidChatCompletionApiKey => "invalid_chat_completion_api_key", InvalidRequest, 400;
    InvalidChatCompletionSystemPrompt => "invalid_chat_completion_system_prompt", InvalidRequest, 400;
    InvalidChatCompletionSearchDescriptionPrompt => "invalid_chat_completion_search_description_prompt", InvalidRequest, 400;
    InvalidChatCompletionSearchQueryParamPrompt => "invalid_chat_completion_search_query_param_prompt", InvalidRequest, 400;
    InvalidChatCompletionSearchFilterParamPrompt => "invalid_chat_completion_search_filter_param_prompt", InvalidRequest, 400;
    InvalidChatCompletionSearchIndexUidParamPrompt => "invalid_chat_completion_search_index_uid_param_prompt", InvalidRequest, 400;
    InvalidSettingsIndexChat => "invalid_settings_index_chat", InvalidRequest, 400;
    InvalidWebhooks => "invalid_webhooks", InvalidRequest, 400;
    InvalidWebhookUrl => "invalid_webhook_url", InvalidRequest, 400;
    InvalidWebhookHeaders => "invalid_webhook_headers", InvalidRequest, 400;
    ImmutableWebhook => "immutable_webhook", InvalidRequest, 400;
    InvalidWebhookUuid => "invalid_webhook_uuid", InvalidRequest, 400;
    WebhookNotFound => "webhook_not_found", InvalidRequest, 404;
    ImmutableWebhookUuid => "immutable_webhook_uuid", InvalidRequest, 400;
    ImmutableWebhookIsEditable => "immutable_webhook_is_editable", InvalidRequest, 400;
    InvalidSkipCreation => "invalid_skip_creation", InvalidRequest, 400;
    InvalidVectorDimensions => "invalid_vector_dimensions", InvalidRequest, 400;
    InvalidVectorsType => "invalid_vectors_type", InvalidRequest, 400;
    InvalidDocumentId => "invalid_document_id", InvalidRequest, 400;
    InvalidDocumentIds => "invalid_document_ids", InvalidRequest, 400;
    InvalidDocumentLimit => "invalid_document_limit", InvalidRequest, 400;
    InvalidDocumentOffset => "invalid_document_offset", InvalidRequest, 400;
    InvalidSearchEmbedder => "invalid_search_embedder", InvalidRequest, 400;
    InvalidSimilarEmbedder => "invalid_similar_embedder", InvalidRequest, 400;
    InvalidSearchHybridQuery => "invalid_search_hybrid_query", InvalidRequest, 400;
    InvalidExportUrl => "invalid_export_url", InvalidRequest, 400;
    InvalidExportApiKey => "invalid_export_api_key", InvalidRequest, 400;
    InvalidExportPayloadSize => "invalid_export_payload_size", InvalidRequest, 400;
    InvalidExportIndexOverrideSettings => "invalid_export_index_override_settings", InvalidRequest, 400;
    InvalidIndexLimit => "invalid_index_limit", InvalidRequest, 400;
    InvalidIndexFieldsFilter => "invalid_index_fields_filter", InvalidRequest, 400;
    InvalidIndexFieldsFilterAttributePatterns => "invalid_index_fields_filter_attribute_patterns", InvalidRequest, 400;
    InvalidIndexFieldsFilterDisplayed => "invalid_index_fields_filter_displayed", InvalidRequest, 400;
    InvalidIndexFieldsFilterSearchable => "invalid_index_fields_filter_searchable", InvalidRequest, 400;
    InvalidIndexFieldsFilterSortable => "invalid_index_fields_filter_sortable", InvalidRequest, 400;
    InvalidIndexFieldsFilterDistinct => "invalid_index_fields_filter_distinct", InvalidRequest, 400;
    InvalidIndexFieldsFilterRankingRule => "invalid_index_fields_filter_ranking_rule", InvalidRequest, 400;
    InvalidIndexFieldsFilterFilterable => "invalid_index_fields_filter_filterable", InvalidRequest, 400;
    InvalidIndexOffset => "invalid_index_offset", InvalidRequest, 400;
    InvalidIndexPrimaryKey => "invalid_index_primary_key", InvalidRequest, 400;
    InvalidIndexUid => "invalid_index_uid", InvalidRequest, 400;
    InvalidMultiSearchFacets => "invalid_multi_search_facets", InvalidRequest, 400;
    InvalidMultiSearchFacetsByIndex => "invalid_multi_search_facets_by_index", InvalidRequest, 400;
    InvalidMultiSearchFacetOrder => "invalid_multi_search_facet_order", InvalidRequest, 400;
    InvalidMultiSearchFederated => "invalid_multi_search_federated", InvalidRequest, 400;
    InvalidMultiSearchFederationOptions => "invalid_multi_search_federation_options", InvalidRequest, 400;
    InvalidMultiSearchMaxValuesPerFacet => "invalid_multi_search_max_values_per_facet", InvalidRequest, 400;
    InvalidMultiSearchMergeFacets => "invalid_multi_search_merge_facets", InvalidRequest, 400;
    InvalidMultiSearchDistinct => "invalid_multi_search_distinct", InvalidRequest, 400;
    InvalidMultiSearchQueryFacets => "invalid_multi_search_query_facets", InvalidRequest, 400;
    InvalidMultiSearchQueryPagination => "invalid_multi_search_query_pagination", InvalidRequest, 400;
    InvalidMultiSearchQueryRankingRules => "invalid_multi_search_query_ranking_rules", InvalidRequest, 400;
    InvalidMultiSearchQueryPosition => "invalid_multi_search_query_position", InvalidRequest, 400;
    InvalidMultiSearchRemote => "invalid_multi_search_remote", InvalidRequest, 400;
    InvalidMultiSearchWeight => "invalid_multi_search_weight", InvalidRequest, 400;
    InvalidNetworkRemotes => "invalid_network_remotes", InvalidRequest, 400;
    InvalidNetworkSelf => "invalid_network_self", InvalidRequest, 400;
    InvalidNetworkSearchApiKey => "invalid_network_search_api_key", InvalidRequest, 400;
    InvalidNetworkUrl => "invalid_network_url", InvalidRequest, 400;
    InvalidSearchAttributesToSearchOn => "invalid_search_attributes_to_search_on", InvalidRequest, 400;
    InvalidSearchAttributesToCrop => "invalid_search_attributes_to_crop", InvalidRequest, 400;
    InvalidSearchAttributesToHighlight => "invalid_search_attributes_to_highlight", InvalidRequest, 400;
    InvalidSimilarAttributesToRetrieve => "invalid_similar_attributes_to_retrieve", InvalidRequest, 400;
    InvalidSimilarRetrieveVectors => "invalid_similar_retrieve_vectors", InvalidRequest, 400;
    InvalidSearchAttributesToRetrieve => "invalid_search_attributes_to_retrieve", InvalidRequest, 400;
    InvalidSearchRankingScoreThreshold => "invalid_search_ranking_score_threshold", InvalidRequest, 400;
    InvalidSimilarRankingScoreThreshold => "invalid_similar_ranking_score_threshold", InvalidRequest, 400;
    InvalidSearchRetrieveVectors => "invalid_search_retrieve_vectors", InvalidRequest, 400;
    InvalidSearchCropLength => "invalid_search_crop_length", InvalidRequest, 400;
    InvalidSearchCropMarker => "invalid_search_crop_marker", InvalidRequest, 400;
    InvalidSearchFacets => "invalid_search_facets", InvalidRequest, 400;
    InvalidSearchSemanticRatio => "invalid_search_semantic_ratio", InvalidRequest, 400;
    InvalidSearchLocales => "invalid_search_locales", InvalidRequest, 400;
    InvalidFacetSearchExhaustiveFacetCount => "invalid_facet_search_exhaustive_facet_count", InvalidRequest, 400;
    InvalidFacetSearchFacetName => "invalid_facet_search_facet_name", InvalidRequest, 400;
    InvalidSimilarId => "invalid_similar_id", InvalidRequest, 400;
    InvalidSearchFilter => "invalid_search_filter", InvalidRequest, 400;
    InvalidSimilarFilter => "invalid_similar_filter", InvalidRequest, 400;
    InvalidSearchHighlightPostTag => "invalid_search_highlight_post_tag", InvalidRequest, 400;
    InvalidSearchHighlightPreTag => "invalid_search_highlight_pre_tag", InvalidRequest, 400;
    InvalidSearchHitsPerPage => "invalid_search_hits_per_page", InvalidRequest, 400;
    InvalidSimilarLimit => "invalid_similar_limit", InvalidRequest, 400;
    InvalidSearchLimit => "invalid_search_limit", InvalidRequest, 400;
    InvalidSearchMatchingStrategy => "invalid_search_matching_strategy", InvalidRequest, 400;
    InvalidSimilarOffset => "invalid_similar_offset", InvalidRequest, 400;
    InvalidSearchOffset => "invalid_search_offset", InvalidRequest, 400;
    InvalidSearchPage => "invalid_search_page", InvalidRequest, 400;
    InvalidSearchQ => "invalid_search_q", InvalidRequest, 400;
    InvalidFacetSearchQuery => "invalid_facet_search_query", InvalidRequest, 400;
    InvalidFacetSearchName => "invalid_facet_search_name", InvalidRequest, 400;
    FacetSearchDisabled => "facet_search_disabled", InvalidRequest, 400;
    InvalidSearchVector => "invalid_search_vector", InvalidRequest, 400;
    InvalidSearchShowMatchesPosition => "invalid_search_show_matches_position", InvalidRequest, 400;
    InvalidSearchShowRankingScore => "invalid_search_show_ranking_score", InvalidRequest, 400;
    InvalidSimilarShowRankingScore => "invalid_similar_show_ranking_score", InvalidRequest, 400;
    InvalidSearchShowRankingScoreDetails => "invalid_search_show_ranking_score_details", InvalidRequest, 400;
    InvalidSimilarShowRankingScoreDetails => "invalid_similar_show_ranking_score_details", InvalidRequest, 400;
    InvalidSearchSort => "invalid_search_sort", InvalidRequest, 400;
    InvalidSearchDistinct => "invalid_search_distinct", InvalidRequest, 400;
    InvalidSettingsDisplayedAttributes => "invalid_settings_displayed_attributes", InvalidRequest, 400;
    InvalidSettingsDistinctAttribute => "invalid_settings_distinct_attribute", InvalidRequest, 400;
    InvalidSettingsProximityPrecision => "invalid_settings_proximity_precision", InvalidRequest, 400;
    InvalidSettingsFacetSearch => "invalid_settings_facet_search", InvalidRequest, 400;
    InvalidSettingsPrefixSearch => "invalid_settings_prefix_search", InvalidRequest, 400;
    InvalidSettingsFaceting => "invalid_settings_faceting", InvalidRequest, 400;
    InvalidSettingsFilterableAttributes => "invalid_settings_filterable_attributes", InvalidRequest, 400;
    InvalidSettingsPagination => "invalid_settings_pagination", InvalidRequest, 400;
    InvalidSettingsSearchCutoffMs => "invalid_settings_search_cutoff_ms", InvalidRequest, 400;
    InvalidSettingsEmbedders => "invalid_settings_embedders", InvalidRequest, 400;
    InvalidSettingsRankingRules => "invalid_settings_ranking_rules", InvalidRequest, 400;
    InvalidSettingsSearchableAttributes => "invalid_settings_searchable_attributes", InvalidRequest, 400;
    InvalidSettingsSortableAttributes => "invalid_settings_sortable_attributes", InvalidRequest, 400;
    InvalidSettingsStopWords => "invalid_settings_stop_words", InvalidRequest, 400;
    InvalidSettingsNonSeparatorTokens => "invalid_settings_non_separator_tokens", InvalidRequest, 400;
    InvalidSettingsSeparatorTokens => "invalid_settings_separator_tokens", InvalidRequest, 400;
    InvalidSettingsDictionary => "invalid_settings_dictionary", InvalidRequest, 400;
    InvalidSettingsSynonyms => "invalid_settings_synonyms", InvalidRequest, 400;
    InvalidSettingsTypoTolerance => "invalid_settings_typo_tolerance", InvalidRequest, 400;
    InvalidSettingsLocalizedAttributes => "invalid_settings_localized_attributes", InvalidRequest, 400;
    InvalidState => "invalid_state", Internal, 500;
    InvalidStoreFile => "invalid_store_file", Internal, 500;
    InvalidSwapDuplicateIndexFound => "invalid_swap_duplicate_index_found", InvalidRequest, 400;
    InvalidSwapIndexes => "invalid_swap_indexes", InvalidRequest, 400;
    InvalidTaskAfterEnqueuedAt => "invalid_task_after_enqueued_at", InvalidRequest, 400;
    InvalidTaskAfterFinishedAt => "invalid_task_after_finished_at", InvalidRequest, 400;
    InvalidTaskAfterStartedAt => "invalid_task_after_started_at", InvalidRequest, 400;
    InvalidTaskBeforeEnqueuedAt => "invalid_task_before_enqueued_at", InvalidRequest, 400;
    InvalidTaskBeforeFinishedAt => "invalid_task_before_finished_at", InvalidRequest, 400;
    InvalidTaskBeforeStartedAt => "invalid_task_before_started_at", InvalidRequest, 400;
    InvalidTaskCanceledBy => "invalid_task_canceled_by", InvalidRequest, 400;
    InvalidTaskFrom => "invalid_task_from", InvalidRequest, 400;
    InvalidTaskLimit => "invalid_task_limit", InvalidRequest, 400;
    InvalidTaskReverse => "invalid_task_reverse", InvalidRequest, 400;
    InvalidTaskStatuses => "invalid_task_statuses", InvalidRequest, 400;
    InvalidTaskTypes => "invalid_task_types", InvalidRequest, 400;
    InvalidTaskUids => "invalid_task_uids", InvalidRequest, 400;
    InvalidBatchUids => "invalid_batch_uids", InvalidRequest, 400;
    RenderDocumentNotFound => "render_document_not_found", InvalidRequest, 404;
    IoError => "io_error", System, 422;
    FeatureNotEnabled => "feature_not_enabled", InvalidRequest, 400;
    MalformedPayload => "malformed_payload", InvalidRequest, 400;
    MaxFieldsLimitExceeded => "max_fields_limit_exceeded", InvalidRequest, 400;
    MissingApiKeyActions => "missing_api_key_actions", InvalidRequest, 400;
    MissingApiKeyExpiresAt => "missing_api_key_expires_at", InvalidRequest, 400;
    MissingApiKeyIndexes => "missing_api_key_indexes", InvalidRequest, 400;
    MissingAuthorizationHeader => "missing_authorization_header", Auth, 401;
    MissingContentType => "missing_content_type", InvalidRequest, 415;
    MissingDocumentId => "missing_document_id", InvalidRequest, 400;
    MissingFacetSearchFacetName => "missing_facet_search_facet_name", InvalidRequest, 400;
    MissingIndexUid => "missing_index_uid", InvalidRequest, 400;
    MissingMasterKey => "missing_master_key", Auth, 401;
    MissingNetworkUrl => "missing_network_url", InvalidRequest, 400;
    MissingPayload => "missing_payload", InvalidRequest, 400;
    MissingSearchHybrid => "missing_search_hybrid", InvalidRequest, 400;
    MissingSwapIndexes => "missing_swap_indexes", InvalidRequest, 400;
    MissingTaskFilters => "missing_task_filters", InvalidRequest, 400;
    NoSpaceLeftOnDevice => "no_space_left_on_device", System, 422;
    PayloadTooLarge => "payload_too_large", InvalidRequest, 413;
    RemoteBadRequest => "remote_bad_request", InvalidRequest, 400;
    RemoteInvalidApiKey => "remote_invalid_api_key", Auth, 403;
    TooManySearchRequests => "too_many_search_requests", System, 503;
    TaskNotFound => "task_not_found", InvalidRequest, 404;
    TaskFileNotFound => "task_file_not_found", InvalidRequest, 404;
    BatchNotFound => "batch_not_found", InvalidRequest, 404;
    TooManyOpenFiles => "too_many_open_files", System, 422;
    TooManyVectors => "too_many_vectors", InvalidRequest, 400;
    UnretrievableDocument => "unretrievable_document", Internal, 400;
    UnretrievableErrorCode => "unretrievable_error_code", InvalidRequest, 400;
    UnsupportedMediaType => "unsupported_media_type", InvalidRequest, 415;
    VectorEmbeddingError => "vector_embedding_error", InvalidRequest, 400;
    NotFoundSimilarId => "not_found_similar_id", InvalidRequest, 400;
    InvalidDocumentEditionContext => "invalid_document_edition_context", InvalidRequest, 400;
    InvalidDocumentEditionFunctionFilter => "invalid_document_edition_function_filter", InvalidRequest, 400;
    EditDocumentsByFunctionError => "edit_documents_by_function_error", InvalidRequest, 400;
    // Miroir's own, in Meilisearch's shape.
    MiroirNoReplica => "miroir_no_replica", System, 503;
    MiroirNodeUnavailable => "miroir_node_unavailable", System, 503;
    MiroirTimeout => "miroir_timeout", System, 504;
    MiroirNotSupported => "miroir_not_supported", InvalidRequest, 501;
    MiroirReservedField => "miroir_reserved_field", InvalidRequest, 400;
    MiroirWriteInterrupted => "miroir_write_interrupted", Internal, 500;
    MiroirPartlyApplied => "miroir_partly_applied", Internal, 500;
    MiroirReplicasDiverged => "miroir_replicas_diverged", Internal, 500;
    MiroirLayoutChanged => "miroir_layout_changed", System, 503;
    MiroirStateLost => "miroir_state_lost", System, 503;
    MiroirNoLeader => "miroir_no_leader", System, 503;
    MiroirViewLost => "miroir_view_lost", System, 503;
    MiroirLeaderLost => "miroir_leader_lost", System, 503;
    MiroirNotLeader => "miroir_not_leader", System, 503;
    MiroirStateUnavailable => "miroir_state_unavailable", System, 503;
    MiroirOverloaded => "miroir_overloaded", System, 503;
    MiroirRefused => "miroir_refused", InvalidRequest, 403;
    MiroirRateLimited => "miroir_rate_limited", System, 429;
    MiroirMethodNotAllowed => "method_not_allowed", InvalidRequest, 405;
}

/// An error as Meilisearch's HTTP API shows it: `{message, code, type, link}`. `code` is free text because an error
/// that a node sent is handed on as it came, even when a newer engine gave it a code this enum does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ResponseError {
    /// The HTTP status of the answer; no part of its body.
    pub status: u16,
    /// For people.
    pub message: String,
    /// In snake case, for programs.
    pub code: String,
    /// The field `type`.
    pub error_type: ErrorType,
    /// Where the documentation tells more of the code.
    pub link: String,
}

#[derive(Deserialize)]
struct Wire {
    message: String,
    code: String,
    #[serde(rename = "type")]
    error_type: ErrorType,
    #[serde(default)]
    link: String,
}

/// Names as messages list them: `` `a`, `b` ``
pub fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

// === impl ResponseError ===

impl ResponseError {
    /// An error with the status, the type and the link that belong to `code`. `message` is for people.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            status: code.status(),
            message: message.into(),
            code: code.as_str().to_owned(),
            error_type: code.error_type(),
            link: format!("https://docs.meilisearch.com/errors#{}", code.as_str()),
        }
    }

    /// Reads an error that a node sent, `None` if `body` has another shape.
    pub fn from_node(status: u16, body: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(body).ok()?;
        Some(Self { status, message: wire.message, code: wire.code, error_type: wire.error_type, link: wire.link })
    }

    /// True if it has this code, whatever its status is.
    pub fn is(&self, code: Code) -> bool {
        self.code == code.as_str()
    }

    /// The JSON body of the answer.
    pub fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("four strings always serialize")
    }
}

impl Serialize for ResponseError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ResponseError", 4)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("code", &self.code)?;
        out.serialize_field("type", &self.error_type)?;
        out.serialize_field("link", &self.link)?;
        out.end()
    }
}

impl<'de> Deserialize<'de> for ResponseError {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let status = Code::ALL.iter().find(|code| code.as_str() == wire.code).map_or(500, |code| code.status());
        Ok(Self { status, message: wire.message, code: wire.code, error_type: wire.error_type, link: wire.link })
    }
}
