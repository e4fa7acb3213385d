//! The example of the original's README as written: its agent configuration (with the two commas that were missing) and
//! its command. Paths lie in the story's folder, and the programs it calls stand in for the real ones.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::routing::get;

use crate::on_both;
use crate::place::{Kind, Place};

const AGENT: &str = r#"{
    "name": "workerNode1",
    "server": "SERVER",
    "datacenter": "dc1",
    "deployments": [
        {
            "id": "api",
            "path": "/data/deploy/api/",
            "prefix": "api/version",
            "shell": "bash",
            "deploy": [
                "wget -O - http://artifacts.myapp.com/api/$VERSION.tar.gz | tar zxf - || exit 1",
                "rackadmin register $DEPLOYMENT_PATH $VERSION"
            ],
            "rollout": [
                "rackadmin checkout $DEPLOYMENT_PATH $VERSION"
            ],
            "clean": [
                "rackadmin clean $DEPLOYMENT_PATH $VERSION"
            ]
        },
        {
            "id": "website",
            "path": "/data/deploy/website/",
            "prefix": "website/version",
            "shell": "bash",
            "deploy": [
                "wget -O - http://artifacts.myapp.com/website/$VERSION.tar.gz | tar zxf - || exit 1",
                "rackadmin register $DEPLOYMENT_PATH $VERSION"
            ],
            "rollout": [
                "rm $DEPLOYMENT_PATH/live",
                "ln -s $DEPLOYMENT_PATH/$VERSION $DEPLOYMENT_PATH/live",
                "systemctl reload nginx"
            ]
        }
    ]
}"#;

/// Fetches from the story's own server whatever host the URL names, with nothing but the shell.
const WGET: &str = r#"#!/usr/bin/env bash
path=${3#http://*/}
exec 3<>"/dev/tcp/127.0.0.1/$ARTIFACT_PORT"
printf 'GET /%s HTTP/1.0\r\nHost: artifacts\r\n\r\n' "$path" >&3
IFS= read -r status <&3
while IFS= read -r header <&3 && [ "$header" != $'\r' ]; do :; done
case $status in *200*) cat <&3 ;; *) exit 8 ;; esac
"#;

/// Writes down how it was called.
const RECORDER: &str = "#!/usr/bin/env bash\necho \"${0##*/} $*\" >> \"$RECORD\"\n";

fn program(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Serves archives that hold the one file `version.txt`, for every version but `unbuilt`.
async fn artifacts() -> u16 {
    let serve = |UrlPath((app, file)): UrlPath<(String, String)>| async move {
        let version = file.trim_end_matches(".tar.gz").to_owned();
        if version == "unbuilt" {
            Err(axum::http::StatusCode::NOT_FOUND)
        } else {
            Ok(archive(&app, &version))
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/{app}/{file}", get(serve));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

fn archive(app: &str, version: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("version.txt"), format!("{app} {version}")).unwrap();
    let packed = std::process::Command::new("tar")
        .args(["czf", "-", "-C"])
        .arg(folder.path())
        .arg(".")
        .output()
        .unwrap();
    assert!(packed.status.success());
    packed.stdout
}

on_both! {
    async fn the_readmes_example_works_as_written(place) {
        let folder = place.folder.path();
        let programs = folder.join("programs");
        let configuration = folder.join("etc");
        std::fs::create_dir(&programs).unwrap();
        std::fs::create_dir(&configuration).unwrap();
        program(&programs, "wget", WGET);
        program(&programs, "rackadmin", RECORDER);
        program(&programs, "systemctl", RECORDER);
        let data = folder.join("data").display().to_string();
        let text = AGENT.replace("/data", &data).replace("SERVER", &place.proxy.address().to_string());
        std::fs::write(configuration.join("agent.json"), text).unwrap();
        let record = folder.join("record");
        let mut command = place.command(&["agent", &format!("-config-dir={}/", configuration.display())]);
        command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
        command.env("ARTIFACT_PORT", artifacts().await.to_string()).env("RECORD", &record);
        let agent = place.start("workerNode1", &mut command);

        let commit = "585ecfabf5b41bae1db7bd566ce984d77568987d";
        for prefix in ["api/version", "website/version"] {
            let ended = place.run(&["deploy", commit, &format!("-prefix={prefix}"), "-nodes=1"]).await;
            assert_eq!(ended.code, Some(0), "{ended:?}\n{}", agent.log());
        }
        let read = |path: &str| std::fs::read_to_string(folder.join("data/deploy").join(path)).unwrap();
        assert_eq!(read(&format!("api/{commit}/version.txt")), format!("api {commit}"));
        assert_eq!(read("website/live/version.txt"), format!("website {commit}"));
        let ended = place.run(&["deploy", "unbuilt", "-prefix=api/version"]).await;
        assert_eq!(ended.code, Some(2), "an artifact that is missing fails the deploy: {ended:?}");
        let recorded = std::fs::read_to_string(&record).unwrap();
        for line in [
            format!("rackadmin register {data}/deploy/api/ {commit}"),
            format!("rackadmin checkout {data}/deploy/api/ {commit}"),
            format!("rackadmin register {data}/deploy/website/ {commit}"),
            "systemctl reload nginx".to_owned(),
        ] {
            assert!(recorded.lines().any(|said| said == line), "{line} is not in\n{recorded}");
        }
    }
}
