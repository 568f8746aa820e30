//! Languages by their ISO 639 codes, as requests and settings name them.

use std::fmt;
use std::str::FromStr;

use deserr::{DeserializeError, Deserr, ErrorKind, IntoValue, ValueKind, ValuePointerRef, take_cf_content};
use milli_core::tokenizer::Language;
use serde::{Serialize, Serializer};

use super::deser::Invalid;

/// A language, under the name that the client gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locale {
    name: &'static str,
    language: Language,
}

macro_rules! languages {
    ($($short:literal => $long:literal $language:ident,)+) => {
        /// Two-letter codes, then three-letter codes; Mandarin has only a long one.
        const NAMES: &[&str] = &[$($short,)+ $($long,)+ "cmn"];

        fn language(name: &str) -> Option<Language> {
            match name {
                $($short | $long => Some(Language::$language),)+
                "cmn" => Some(Language::Cmn),
                _unknown => None,
            }
        }

        fn long_name(language: Language) -> &'static str {
            match language {
                $(Language::$language => $long,)+
                Language::Cmn => "cmn",
            }
        }
    };
}

languages! {
    "af" => "afr" Afr, "ak" => "aka" Aka, "am" => "amh" Amh, "ar" => "ara" Ara, "az" => "aze" Aze, "be" => "bel" Bel,
    "bn" => "ben" Ben, "bg" => "bul" Bul, "ca" => "cat" Cat, "cs" => "ces" Ces, "da" => "dan" Dan, "de" => "deu" Deu,
    "el" => "ell" Ell, "en" => "eng" Eng, "eo" => "epo" Epo, "et" => "est" Est, "fi" => "fin" Fin, "fr" => "fra" Fra,
    "gu" => "guj" Guj, "he" => "heb" Heb, "hi" => "hin" Hin, "hr" => "hrv" Hrv, "hu" => "hun" Hun, "hy" => "hye" Hye,
    "id" => "ind" Ind, "it" => "ita" Ita, "jv" => "jav" Jav, "ja" => "jpn" Jpn, "kn" => "kan" Kan, "ka" => "kat" Kat,
    "km" => "khm" Khm, "ko" => "kor" Kor, "la" => "lat" Lat, "lv" => "lav" Lav, "lt" => "lit" Lit, "ml" => "mal" Mal,
    "mr" => "mar" Mar, "mk" => "mkd" Mkd, "my" => "mya" Mya, "ne" => "nep" Nep, "nl" => "nld" Nld, "nb" => "nob" Nob,
    "or" => "ori" Ori, "pa" => "pan" Pan, "fa" => "pes" Pes, "pl" => "pol" Pol, "pt" => "por" Por, "ro" => "ron" Ron,
    "ru" => "rus" Rus, "si" => "sin" Sin, "sk" => "slk" Slk, "sl" => "slv" Slv, "sn" => "sna" Sna, "es" => "spa" Spa,
    "sr" => "srp" Srp, "sv" => "swe" Swe, "ta" => "tam" Tam, "te" => "tel" Tel, "tl" => "tgl" Tgl, "th" => "tha" Tha,
    "tk" => "tuk" Tuk, "tr" => "tur" Tur, "uk" => "ukr" Ukr, "ur" => "urd" Urd, "uz" => "uzb" Uzb, "vi" => "vie" Vie,
    "yi" => "yid" Yid, "zh" => "zho" Zho, "zu" => "zul" Zul,
}

// === impl Locale ===

impl Locale {
    pub fn language(self) -> Language {
        self.language
    }

    fn named(text: &str) -> Option<Self> {
        let name = NAMES.iter().find(|name| **name == text)?;
        Some(Self { name, language: language(name)? })
    }
}

impl From<Language> for Locale {
    fn from(language: Language) -> Self {
        Self { name: long_name(language), language }
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Locale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl FromStr for Locale {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::named(text).ok_or_else(|| {
            let mut names = NAMES.to_vec();
            names.sort_by_key(|name| (name.len(), *name));
            Invalid(format!("Unsupported locale `{text}`, expected one of {}", names.join(", ")))
        })
    }
}

impl<E: DeserializeError> Deserr<E> for Locale {
    fn deserialize_from_value<V: IntoValue>(value: deserr::Value<V>, place: ValuePointerRef<'_>) -> Result<Self, E> {
        match value {
            deserr::Value::String(text) => Self::named(&text).ok_or_else(|| {
                let kind = ErrorKind::UnknownValue { value: &text, accepted: NAMES };
                take_cf_content(E::error::<V>(None, kind, place))
            }),
            actual => {
                let kind = ErrorKind::IncorrectValueKind { actual, accepted: &[ValueKind::String] };
                Err(take_cf_content(E::error(None, kind, place)))
            }
        }
    }
}
