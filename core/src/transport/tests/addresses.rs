//! Where to listen and whom to dial.

use super::*;

#[test]
fn a_node_that_nobody_answers_for_is_unreachable() {
    let own = Node::new(1).transport.introduction();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let dial = |address: &str, timeout| {
        dial_blocking(&own, address, Intent::Identity, 0, timeout, |_| Ok(())).unwrap_err()
    };
    assert_eq!(dial(&free, PATIENCE).code, Code::Unreachable);
    assert_eq!(dial("nonsense", PATIENCE).code, Code::AddressInvalid);
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    assert_eq!(dial(&address, Duration::from_millis(50)).code, Code::Unreachable);
}

fn bind_error(change: impl FnOnce(&mut TransportOptions)) -> crate::error::Error {
    let mut options = TransportOptions::new("orchard", identity(1));
    change(&mut options);
    let poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    match Transport::bind(registry, 0, options) {
        Ok(transport) => panic!("it listens on {}", transport.local_address()),
        Err(error) => error,
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_an_error_that_helps() {
    let taken = Node::new(1);
    let error = bind_error(|options| options.listen_address = taken.address());
    assert_eq!(error.code, Code::AddressInUse);
    assert!(error.message.contains(&taken.address()) && error.message.contains("port 0"));
    for bad in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "no.such.host.invalid:1"] {
        let error = bind_error(|options| options.listen_address = bad.to_string());
        assert_eq!(error.code, Code::AddressInvalid, "{error}");
    }
    let error = bind_error(|options| {
        options.listen_address = "192.0.2.1:0".to_string();
        options.insecure_transport = true;
    });
    assert_eq!(error.code, Code::AddressInvalid, "{error}");
}

#[test]
fn listening_beyond_loopback_must_be_asked_for() {
    for beyond in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = bind_error(|options| options.listen_address = beyond.to_string());
        assert_eq!(error.code, Code::InsecureAddress);
        assert!(error.message.contains("insecure_transport"));
    }
    let error = bind_error(|options| {
        options.listen_address = "0.0.0.0:0".to_string();
        options.insecure_transport = true;
    });
    assert!(error.message.contains("advertised_address"), "{error}");
    let node = Node::with(1, |options| {
        options.listen_address = "0.0.0.0:0".to_string();
        options.advertised_address = "127.0.0.1:7".to_string();
        options.insecure_transport = true;
    });
    assert_ne!(node.transport.local_address().port(), 0, "port 0 takes a free one");
}

#[test]
fn names_and_ipv6_work_where_numbers_do() {
    let mut one = Node::with(1, |options| options.listen_address = "localhost:0".to_string());
    let mut two = Node::new(2);
    let by_name = format!("localhost:{}", one.transport.local_address().port());
    two.transport.set_peers(&[(identity(1), by_name)]);
    drive(&mut [&mut one, &mut two], "connect by name", |nodes| nodes[1].connected_peers() == 1);
    if TcpListener::bind("[::1]:0").is_err() {
        println!("there is no IPv6 on this machine");
        return;
    }
    let mut three = Node::with(3, |options| options.listen_address = "[::1]:0".to_string());
    let mut four = Node::with(4, |options| options.listen_address = "[::1]:0".to_string());
    three.knows(&[&four]);
    drive(&mut [&mut three, &mut four], "connect by IPv6", |nodes| {
        nodes.iter().all(|node| node.connected_peers() == 1)
    });
}

#[test]
fn a_node_is_found_at_whichever_of_its_addresses_it_listens() {
    let (mut one, mut two, mut other) = (Node::new(1), Node::new(2), Node::new(3));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let addresses = [nobody, other.address(), "nonsense".to_string(), two.address()];
    let peers: Vec<_> = addresses.into_iter().map(|address| (identity(2), address)).collect();
    one.transport.set_peers(&peers);
    drive(&mut [&mut one, &mut two, &mut other], "connect", |nodes| {
        nodes[0].connected_peers() == 1
    });
    // It stays connected there while the list stays as it is.
    one.transport.set_peers(&peers);
    let since = Instant::now();
    drive(&mut [&mut one, &mut two, &mut other], "a while", |nodes| {
        assert!(!nodes[0].disconnected(2));
        since.elapsed() > Duration::from_millis(200)
    });
}
