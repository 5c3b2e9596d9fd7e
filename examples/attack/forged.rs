//! Reviews of a client that is no API server, where the webhook demands a client certificate.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::time::sleep;

use crate::{
    ATTACKER, BYSTANDER, LEAD, Result,
    bystander::Bystander,
    client::Identity,
    gate::{Gate, Trail},
    limit::MemoryLimit,
    reviews,
    table::Row,
};

/// Sends forged reviews. Each record of one, and each escape that the webhook counts, is an escape here.
///
/// # Errors
/// If the webhook cannot be started.
pub(crate) async fn run(limit: &MemoryLimit) -> Result<Row> {
    const COUNT: usize = 100;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("client-ca.crt");
    let (ca, own) = identity()?;
    let (_, forged) = identity()?;
    fs::write(&file, ca)?;
    let mut gate =
        Gate::start(limit, Trail::File, &["--client-ca".into(), file.display().to_string()]).await?;
    let bystander = Bystander::start(gate.identified(BYSTANDER, own), "forged-beside");
    sleep(LEAD).await;
    let mut answered = 0;
    for number in 0..COUNT {
        // Half of them come with a certificate of another CA, the others with none.
        let client = match number % 2 {
            0 => gate.client(ATTACKER),
            _ => gate.identified(ATTACKER, forged.clone()),
        };
        let pod = reviews::hostile();
        let review = reviews::update(format!("forged-{number}"), &pod, &pod);
        answered += usize::from(client.post("/validate", review.body).await.is_ok());
    }
    sleep(LEAD).await;
    let seen = bystander.stop().await?;
    let lost = gate.lost(&seen.admitted).await? as u64;
    let records =
        gate.records()?.uids.iter().filter(|uid| uid.strip_prefix("forged-").is_some_and(is_number)).count();
    let counted = gate.client(BYSTANDER).counter("sandgate_escapes").await?;
    gate.revive()?;
    Ok(Row {
        finds: "A7",
        attack: "forged reviews where --client-ca is set",
        requests: COUNT,
        restarts: gate.restarts,
        escapes: answered + records + usize::try_from(counted)?,
        lost,
        seen,
    })
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns a CA in PEM, and a client's certificate that it signed.
fn identity() -> Result<(String, Identity)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["kube-apiserver".to_owned()])?.signed_by(&key, &ca)?.pem();
    Ok((ca.pem(), Identity { certificate, key: key.serialize_pem() }))
}
