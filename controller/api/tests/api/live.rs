//! The double for what needs running containers: dynos kept in memory, an attachment that echoes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use landfall_api::platform::*;
use landfall_model::{AppId, AppName, BuildId, DynoId, DynoName, DynoSize, DynoState, Hostname, ReleaseId};
use landfall_store::{NewBuild, ReleaseRef, Store};
use tokio::sync::{Notify, mpsc};

pub(crate) struct Live {
    store: Arc<Store>,
    pub(crate) calls: Mutex<Vec<String>>,
    one_offs: Mutex<Vec<(AppId, DynoView)>>,
    attachments: Mutex<HashMap<String, Attachment>>,
    gate: Mutex<Option<Arc<Gate>>>,
    broken: AtomicBool,
}

/// Where a start waits, when a test closed it.
#[derive(Default)]
pub(crate) struct Gate {
    reached: Notify,
    opened: Notify,
    dropped: Notify,
}

impl Gate {
    /// Somebody waits.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Who waited is gone.
    pub(crate) async fn dropped(&self) {
        self.dropped.notified().await;
    }

    pub(crate) fn open(&self) {
        self.opened.notify_one();
    }
}

/// Tells of a future that was dropped half-way.
struct HalfWay(Option<Arc<Gate>>);

impl Drop for HalfWay {
    fn drop(&mut self) {
        if let Some(gate) = &self.0 {
            gate.dropped.notify_one();
        }
    }
}

impl Live {
    /// The next starts wait.
    pub(crate) fn close_gate(&self) -> Arc<Gate> {
        self.gate.lock().unwrap().insert(Arc::default()).clone()
    }

    /// Asking for stacks fails from now on.
    pub(crate) fn break_stacks(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            calls: Mutex::default(),
            one_offs: Mutex::default(),
            attachments: Mutex::default(),
            gate: Mutex::default(),
            broken: AtomicBool::new(false),
        }
    }

    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    /// What was asked since the last look, without the wake-ups.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap()).into_iter().filter(|call| !call.starts_with("wake")).collect()
    }

    /// An attachment to a process that repeats its input and ends, with status 7, at the end of it.
    fn echo(&self) -> String {
        let (input, mut stdin) = mpsc::channel(8);
        let (stdout, output) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(item) = stdin.recv().await {
                let answer = match item {
                    AttachInput::Stdin(bytes) => AttachOutput::Stdout(bytes),
                    AttachInput::Resize(cols, rows) => AttachOutput::Stderr(Bytes::from(format!("{cols}x{rows}"))),
                    AttachInput::Signal(signal) => AttachOutput::Stderr(Bytes::from(format!("signal {signal}"))),
                    AttachInput::StdinEnd => break,
                };
                stdout.send(answer).await.ok();
            }
            stdout.send(AttachOutput::Exit(7)).await.ok();
        });
        let secret = DynoId::new().to_string();
        self.attachments.lock().unwrap().insert(secret.clone(), Attachment { input, output });
        secret
    }

    async fn view(&self, app: AppId, name: DynoName, command: &str) -> DynoView {
        let scope = self.store.system().app(app);
        let release = self.store.release_get(&scope, ReleaseRef::Current).await.unwrap();
        let now = Timestamp::now();
        DynoView {
            id: DynoId::new(),
            name,
            state: DynoState::Up,
            command: command.to_owned(),
            size: DynoSize::default(),
            release: (release.id, release.version),
            created_at: now,
            updated_at: now,
            note: None,
        }
    }
}

impl Platform for Live {
    fn wake(&self, app: AppId) {
        self.note(format!("wake {app}"));
    }

    fn dynos(&self, app: AppId) -> Answer<'_, Vec<DynoView>> {
        async move {
            let scope = self.store.system().app(app);
            let mut all = Vec::new();
            for one in self.store.formation_list(&scope).await.unwrap() {
                for index in 1..=one.entry.quantity {
                    let mut view = self.view(app, DynoName::new(one.entry.process_type.clone(), index), &one.entry.command).await;
                    if index == 2 {
                        view.state = DynoState::Crashed;
                        view.note = Some("exited with status 1; next start in 8 s".into());
                    }
                    all.push(view);
                }
            }
            let one_offs = self.one_offs.lock().unwrap();
            all.extend(one_offs.iter().filter(|(of, _)| *of == app).map(|(_, view)| view.clone()));
            Ok(all)
        }
        .boxed()
    }

    fn run(&self, app: AppId, spec: RunSpec) -> Answer<'_, Started> {
        async move {
            self.note(format!("run {} attach={} tty={} env={:?} window={:?}", spec.command, spec.attach, spec.tty, spec.env, spec.window));
            let gate = self.gate.lock().unwrap().clone();
            if let Some(gate) = gate {
                let mut half_way = HalfWay(Some(gate.clone()));
                gate.reached.notify_one();
                gate.opened.notified().await;
                half_way.0 = None;
            }
            let kind = spec.process_type.unwrap_or_else(|| "run".parse().unwrap());
            let mut dyno = self.view(app, DynoName::new(kind, 4821), &spec.command).await;
            dyno.size = spec.size.unwrap_or_default();
            self.one_offs.lock().unwrap().push((app, dyno.clone()));
            Ok(Started { dyno, attachment: spec.attach.then(|| self.echo()) })
        }
        .boxed()
    }

    fn exec(&self, _app: AppId, dyno: DynoId, command: ExecCommand) -> Answer<'_, String> {
        self.note(format!("exec {dyno} {:?} tty={}", command.args, command.tty));
        async move { Ok(self.echo()) }.boxed()
    }

    fn attach(&self, secret: String) -> Answer<'_, Attachment> {
        let found = self.attachments.lock().unwrap().remove(&secret);
        async move {
            found
                .ok_or_else(|| PlatformError::NotFound("No process waits for that attachment. Start one with: landfall run COMMAND".into()))
        }
        .boxed()
    }

    fn restart(&self, _app: AppId, which: DynoSelector) -> Answer<'_, ()> {
        self.note(format!("restart {which:?}"));
        async { Ok(()) }.boxed()
    }

    fn stop(&self, _app: AppId, which: DynoSelector) -> Answer<'_, ()> {
        self.note(format!("stop {which:?}"));
        async { Ok(()) }.boxed()
    }

    fn build_cancel(&self, app: AppId, build: BuildId) -> Answer<'_, ()> {
        async move {
            let cancelled = self.store.build_cancel(&self.store.system().app(app), build).await;
            cancelled.map(drop).map_err(|error| PlatformError::Conflict(error.to_string()))
        }
        .boxed()
    }

    fn build_from_tarball(&self, app: AppId, build: TarballBuild) -> Answer<'_, BuildId> {
        async move {
            let bytes = tokio::fs::read(&build.file).await.unwrap();
            tokio::fs::remove_file(&build.file).await.unwrap();
            self.note(format!("build of {} bytes", bytes.len()));
            let source = landfall_store::BuildSource { commit: build.version, ..landfall_store::BuildSource::default() };
            let new = NewBuild { id: None, source, stack: "debian-13".into(), worker: "test".into() };
            Ok(self.store.build_create(&self.store.system().app(app), new).await.unwrap().id)
        }
        .boxed()
    }

    fn build_output(&self, _app: AppId, _build: BuildId) -> Answer<'_, OutputStream> {
        let chunks = ["-----> Building\n", "-----> Done\n"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
        async move { Ok(Box::pin(futures_util::stream::iter(chunks)) as OutputStream) }.boxed()
    }

    fn release_output(&self, _app: AppId, _release: ReleaseId) -> Answer<'_, Option<OutputStream>> {
        async move { Ok(Some(Box::pin(futures_util::stream::iter([Ok(Bytes::from_static(b"migrated\n"))])) as OutputStream)) }.boxed()
    }

    fn stats(&self, app: AppId) -> Answer<'_, Vec<DynoStats>> {
        async move {
            let dynos = self.dynos(app).await?;
            let one = |dyno: &DynoView| DynoStats {
                name: dyno.name.clone(),
                cpu_percent: 12.34,
                memory_bytes: 64 << 20,
                memory_limit_bytes: dyno.size.memory_bytes(),
            };
            Ok(dynos.iter().map(one).collect())
        }
        .boxed()
    }

    fn stacks(&self) -> Answer<'_, Vec<String>> {
        let broken = self.broken.load(Ordering::Relaxed);
        async move {
            if broken {
                return Err(PlatformError::Internal("the disk is on fire".into()));
            }
            Ok(vec!["debian-13".to_owned(), "debian-12".to_owned()])
        }
        .boxed()
    }

    fn git_http_url(&self, app: &AppName) -> String {
        format!("http://127.0.0.1:5000/{app}.git")
    }

    fn git_ssh_url(&self, app: &AppName) -> String {
        format!("ssh://git@127.0.0.1:2222/{app}.git")
    }

    fn app_host(&self, app: &AppName) -> Hostname {
        format!("{app}.localhost").parse().unwrap()
    }

    fn web_url(&self, host: &Hostname) -> String {
        format!("http://{host}:8080/")
    }
}
