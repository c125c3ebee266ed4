//! A real stack from Debian packages. Takes minutes and the network: runs when LANDFALL_TEST_STACK names a directory to keep it in.

use landfall_runtime::client::StackProgress;

use crate::harness::{Instance, drain};

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_made_once_and_runs() {
    let Some(cache) = std::env::var_os("LANDFALL_TEST_STACK") else { return };
    let instance = Instance::with(|config| {
        config.data_dir = cache.into();
        if let Ok(mirror) = std::env::var("LANDFALL_TEST_MIRROR") {
            config.debian_mirror = mirror;
        }
    })
    .await;
    let make = async || {
        let mut session = instance.agent.stack_create("landfall-13", "trixie").await.unwrap();
        loop {
            match session.next().await.unwrap() {
                StackProgress::Line(line) => println!("{line}"),
                StackProgress::Ready(stack) => return stack,
            }
        }
    };
    let begun = std::time::Instant::now();
    let stack = make().await;
    println!("{:?} {stack:#?}", begun.elapsed());
    let begun = std::time::Instant::now();
    assert_eq!(make().await, stack);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "the second time is cached");
    for (id, image, command) in [
        ("r", &stack.run_image, "python3 -c 'import ssl, sqlite3'; getent hosts deb.debian.org; git --version; id -un; pwd"),
        ("b", &stack.build_image, "gcc --version; python3 -m pip --version; git --version; id -un; pwd"),
    ] {
        let mut spec = instance.spec(id, &["bash", "-c", command]);
        spec.image.clone_from(image);
        spec.stdio = landfall_runtime::wire::Stdio::Pipes;
        let container = instance.agent.start(spec).await.unwrap();
        let (text, code) = drain(instance.agent.attach(&container.id).await.unwrap()).await;
        println!("{text}");
        assert!(code == 0 && text.contains("git version") && text.contains("app\n/app"), "{text}");
    }
}
