//! The image: buildah makes it, and it runs as process 1 of an empty root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::sandbox::Root;
use super::{CONTAINERFILE, assert_without_complaint, repository};
use crate::support::{Dialogue, Scratch, binary, eventually, found, signal_process, tool};

/// buildah with a store of its own.
fn buildah(store: &Scratch, args: &[&str]) -> Output {
    let mut command = Command::new(tool("buildah"));
    command.args(["--storage-driver", "vfs"]);
    command.arg("--root").arg(store.path("images"));
    command.arg("--runroot").arg(store.path("run"));
    command.args(args).output().expect("buildah")
}

#[track_caller]
fn build(store: &Scratch, context: &Path) -> Output {
    let file = CONTAINERFILE.path();
    let file = file.to_str().expect("UTF-8");
    let context = context.to_str().expect("UTF-8");
    let build = ["build", "--quiet", "--isolation", "chroot", "-t", "rot13d"];
    buildah(store, &[&build[..], &["-f", file, context]].concat())
}

/// A folder like that of the sources, with a server built in it.
fn context() -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    let folder = scratch.path("sources");
    fs::create_dir_all(folder.join("target/release")).expect("a folder");
    fs::copy(binary(), folder.join("target/release/rot13d")).expect("the server");
    for file in [".dockerignore", "README.md"] {
        fs::copy(repository().join(file), folder.join(file)).expect(file);
    }
    (scratch, folder)
}

/// What the image's configuration says, by a template of Go's.
fn inspect(store: &Scratch, template: &str) -> Vec<String> {
    let inspect = ["inspect", "--type", "image", "--format", template];
    let output = buildah(store, &[&inspect[..], &["rot13d"]].concat());
    assert_without_complaint(&output);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.split_whitespace().map(str::to_owned).collect()
}

/// Process 1, without privileges, of a container that holds nothing but the
/// server: no /dev, no /proc, no shell.
#[test]
fn container_image_serves_drains_and_stops() {
    let (scratch, context) = context();
    let built = build(&scratch, &context);
    assert!(built.status.success(), "{built:?}");
    let config = |template: &str| inspect(&scratch, template);
    assert_eq!(config("{{.OCIv1.Config.User}}"), ["65534:65534"]);
    assert_eq!(config("{{.OCIv1.Config.StopSignal}}"), ["SIGTERM"]);
    let ports = config("{{range $port, $_ := .OCIv1.Config.ExposedPorts}}{{println $port}}{{end}}");
    assert_eq!(ports, ["43211/tcp"]);
    let image = buildah(&scratch, &["from", "rot13d"]);
    assert_without_complaint(&image);
    let image = String::from_utf8(image.stdout).expect("UTF-8");
    let folder = buildah(&scratch, &["mount", image.trim()]);
    assert_without_complaint(&folder);
    let folder = String::from_utf8(folder.stdout).expect("UTF-8");
    let files = super::files_below(Path::new(folder.trim()));
    assert_eq!(files.iter().collect::<Vec<_>>(), ["rot13d"]);

    let command = config(
        "{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}\
         {{range .OCIv1.Config.Cmd}}{{println .}}{{end}}",
    );
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut container = Root::new()
        .copy(&Path::new(folder.trim()).join("rot13d"), "/rot13d")
        .nobody()
        .start(&command);
    let to = "127.0.0.1:43211";
    found("readiness", || {
        container.log().containing("listening on [::]:43211")
    });
    let mut client = container.connect(to);
    client.exchange(b"Hello\n");
    client.say(b"half a ");
    signal_process(container.init(), libc::SIGTERM);
    eventually("nobody listens any more", || {
        container.try_connect(to).is_err()
    });
    client.say(b"line\n");
    client.hear_echo_of(b"half a line\n");
    client.half_close();
    client.assert_end();
    assert_eq!(container.wait_exit().code(), Some(0));
    let log = container.log().to_end();
    assert!(log.ends_with(" exit 0 0/256\n"), "{log}");
}

/// Nothing but servers is sent to whoever builds the image.
#[test]
fn no_other_file_of_the_sources_can_be_in_an_image() {
    let (scratch, context) = context();
    let text = CONTAINERFILE.text();
    let changed = text.replace("SERVER=target/release/rot13d", "SERVER=README.md");
    assert_ne!(text, changed);
    let file = scratch.path("Containerfile");
    fs::write(&file, changed).expect("a file");
    let (file, context) = (file.to_str().unwrap(), context.to_str().unwrap());
    let built = buildah(
        &scratch,
        &["build", "--isolation", "chroot", "-f", file, context],
    );
    assert!(!built.status.success(), "{built:?}");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(said.contains("README.md"), "{said}");
}
