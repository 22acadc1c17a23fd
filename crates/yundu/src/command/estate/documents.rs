//! Imported documents in the workspace's store; what an import changed becomes evidence in the
//! same transaction.

use crate::context::{Classify, Context, Failure};
use serde_json::json;
use yundu_estate::canonical::sha256_hex;
use yundu_estate::{Change, Estate, SourceDocument, merge};
use yundu_evidence::Record;
use yundu_store::{SourceRow, Store, Transaction};

/// Every document imported so far.
pub fn load(context: &Context) -> Result<Vec<SourceDocument>, Failure> {
    blocking(async {
        let store = open(context).await?;
        let mut transaction = store.read().await.environment()?;
        let documents = read(&mut transaction).await;
        drop(transaction);
        store.close().await;
        documents
    })
}

/// The estate that the documents describe together.
pub fn estate(context: &Context) -> Result<Estate, Failure> {
    Ok(Estate::from_documents(&load(context)?))
}

/// Keeps `imported` beside what was imported before; all documents, and what each import changed.
pub fn keep(
    context: &Context,
    imported: Vec<SourceDocument>,
) -> Result<(Vec<SourceDocument>, Vec<Change>), Failure> {
    blocking(async {
        let store = open(context).await?;
        let mut transaction = store.begin().await.environment()?;
        let mut documents = read(&mut transaction).await?;
        let changes = merge(&mut documents, imported.clone());
        for (document, change) in imported.iter().zip(&changes) {
            if *change != Change::Unchanged {
                transaction
                    .put_source(&row(document)?)
                    .await
                    .environment()?;
                transaction
                    .record(&evidence(document, *change))
                    .await
                    .environment()?;
            }
        }
        transaction.commit().await.environment()?;
        store.close().await;
        Ok((documents, changes))
    })
}

async fn read(transaction: &mut Transaction) -> Result<Vec<SourceDocument>, Failure> {
    let rows = transaction.sources().await.environment()?;
    rows.into_iter()
        .map(|row| serde_json::from_value(row.document).environment())
        .collect()
}

fn row(document: &SourceDocument) -> Result<SourceRow, Failure> {
    Ok(SourceRow {
        name: document.source.clone(),
        path: document.path.clone(),
        kind: document.format.name().to_owned(),
        digest: document.sha256.clone(),
        document: serde_json::to_value(document).environment()?,
        at_us: document.at_us,
    })
}

fn evidence(document: &SourceDocument, change: Change) -> Record {
    // A path may be longer than an identifier, so the identifier is its digest.
    let identity = json!([
        document.source,
        document.path,
        document.sha256,
        document.at_us
    ]);
    Record {
        id: format!(
            "estate.imported-{}",
            sha256_hex(identity.to_string().as_bytes())
        ),
        kind: "estate.imported".to_owned(),
        subject: "estate".to_owned(),
        actor: "yundu estate import".to_owned(),
        at_us: document.at_us,
        body: json!({
            "source": document.source,
            "path": document.path,
            "format": document.format,
            "change": change,
            "sha256": document.sha256,
            "size_bytes": document.size_bytes,
            "statements": document.assertions.len(),
        }),
        artefacts: Vec::new(),
    }
}

/// Opens the store of the workspace.
pub async fn open(context: &Context) -> Result<Store, Failure> {
    let path = context.workspace.join("yundu.db");
    if !path.is_file() {
        let shown = context.workspace.display();
        let text = context.tr(
            "这里不是工作区，请先运行",
            "this is not a workspace; first run",
        );
        return Err(Failure::Environment(anyhow::anyhow!(
            "{text} `yundu init {shown}`"
        )));
    }
    Store::open_file(&path).await.environment()
}

/// Waits for `work` on this thread.
pub fn blocking<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .environment()?
        .block_on(work)
}
