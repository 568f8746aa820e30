//! For how long certificates are good.

use prometheus::{GaugeVec, Opts, Registry};
use time::{Duration, OffsetDateTime};

use super::certificate::Certificate;

/// From so many days before its end a certificate is warned of.
const SOON: i64 = 30;
const DAY: f64 = 86_400.0;

/// The metric `miroir_tls_certificate_days_left`.
#[derive(Debug, Clone)]
pub struct Expiry(GaugeVec);

// === impl Expiry ===

impl Expiry {
    /// # Errors
    ///
    /// When the metric is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Days until a listener's certificate ends; below zero when it has ended.";
        let gauge = GaugeVec::new(Opts::new("miroir_tls_certificate_days_left", help), &["listener", "file"])?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(Self(gauge))
    }

    /// Sets how many days each certificate is good for; less than 0 for one that has expired.
    pub(super) fn tell(&self, listener: &str, certificates: &[Certificate]) {
        let now = OffsetDateTime::now_utc();
        for certificate in certificates {
            let left = (certificate.not_after - now).as_seconds_f64() / DAY;
            self.0.with_label_values(&[listener, &certificate.label]).set(left);
        }
    }
}

/// What to say of a certificate that has ended or will soon.
pub(super) fn doubt(certificate: &Certificate, now: OffsetDateTime) -> Option<String> {
    let left = certificate.not_after - now;
    let end = certificate.not_after.date();
    if left <= Duration::ZERO {
        return Some(format!("the certificate `{}` has ended on {end}", certificate.label));
    }
    let days = left.whole_days();
    (days < SOON).then(|| format!("the certificate `{}` ends on {end}, in {days} days", certificate.label))
}
