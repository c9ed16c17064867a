#![allow(clippy::disallowed_methods)]
mod common;
use common::{Home, create_topic, set_config, start_broker};
use dohle_env::thread::block_on;
#[test]
#[ignore]
fn make() {
    let dir = std::env::var("DIR").unwrap();
    let mut home = Home::real(std::path::Path::new(&dir));
    home.properties = std::env::var("PROPS").unwrap_or_default();
    block_on(async {
        let t = std::time::Instant::now();
        let formatted = home.format().unwrap();
        println!("format {:?}", t.elapsed());
        let t = std::time::Instant::now();
        let c = home.start().await.unwrap();
        println!("start {:?}", t.elapsed());
        println!("{:?}", c.status());
        if std::env::var("LOOK").is_ok() {
            let image = c.image();
            for (record, version) in image.to_records() {
                println!("v{version} {record:?}");
            }
        } else {
            start_broker(&c, &formatted.cluster_id, formatted.directory_id).await;
            println!("{:?}", create_topic(&c, &std::env::var("TOPIC").unwrap_or("alpha".into()), 3).await);
            for i in 0..20 {
                let t = std::time::Instant::now();
                set_config(&c, "log.retention.ms", &i.to_string()).await.unwrap();
                println!("change {:?}", t.elapsed());
            }
        }
        c.shutdown().await;
    });
}
