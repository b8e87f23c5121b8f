use super::*;

/// What the last attempt to get into a network led to.
fn entered(screen: &Screen, network: &str, result: Result<Entered, Failure>) -> Answer {
    let token = screen.model.tasks.last().map_or(0, |task| task.token);
    Answer::Entered { token, network: network.to_owned(), result }
}

fn unreachable() -> Failure {
    Failure::Unreachable("no discovery service answers".to_owned())
}

#[test]
fn the_way_into_a_network_is_asked_for_step_by_step() {
    let mut screen = Screen::new();
    assert_eq!(screen.later(5_000), [], "there is no node to ask yet");
    assert_eq!(plain(screen.input(Input::Opened(None))), [Effect::Status, enter("lab", Way::JoinOrFound)]);
    screen.status(status(vec![]));
    let token = screen.model.tasks.first().map_or(0, |task| task.token);
    let entered = Answer::Entered { token, network: "lab".to_owned(), result: Ok(Entered::Founded) };
    assert_eq!(screen.answer(entered), [Effect::Status]);
    assert!(screen.model.tasks.is_empty());
    let network = || LAB.to_owned();
    let effects = screen.status(status(vec![network_state("lab", LAB)]));
    assert_eq!(effects, [Effect::Subscribe { network: network() }, Effect::Members { network: network() }]);
    assert_eq!(screen.model.current.as_deref(), Some(LAB));
    // Nothing is read before the events come in, or it could fall between.
    let effects = screen.answer(Answer::Subscribed { network: network(), result: Ok(()) });
    assert_eq!(effects, [Effect::Load { network: network(), part: Part::Newest }]);
}

#[test]
fn who_hosts_a_discovery_service_is_told_so_when_it_enters_a_network() {
    let hosting = || {
        let service = v1::DiscoveryState { url: "http://127.0.0.1:7400".to_owned(), ..Default::default() };
        let discovery = vec![v1::DiscoveryState { reachable: true, embedded: true, ..service }];
        v1::StatusResponse { discovery, ..status(vec![]) }
    };
    let mut screen = Screen::new();
    screen.resized(80, 24);
    screen.input(Input::Opened(None));
    screen.status(hosting());
    screen.answer(entered(&screen, "lab", Ok(Entered::Founded)));
    let hosts = "no discovery service was found, so this chat hosts one at http://127.0.0.1:7400";
    assert_eq!(said(&screen), format!("founded lab; others join it with p2p-chat chat lab; {hosts}"));
    let rows = screen.rows().join(" ");
    assert!(rows.contains("hosts one at") && rows.contains("http://127.0.0.1:7400"), "all of it is shown: {rows}");
}

#[test]
fn a_network_that_can_not_be_reached_is_tried_again_and_one_that_refuses_is_not() {
    let mut screen = Screen::new();
    screen.input(Input::Opened(None));
    screen.status(status(vec![]));
    let token = screen.model.tasks.first().map_or(0, |task| task.token);
    let failed = |failure| Answer::Entered { token, network: "lab".to_owned(), result: Err(failure) };
    screen.answer(failed(Failure::Unreachable("no discovery service answers".to_owned())));
    assert_eq!(said(&screen), "can't get into lab: no discovery service answers");
    assert!(!screen.later(2_000).iter().any(|effect| matches!(effect, Effect::Enter { .. })));
    screen.status(status(vec![]));
    assert!(plain(screen.later(1_000)).contains(&enter("lab", Way::JoinOrFound)));
    screen.answer(failed(Failure::NotAllowed("you were removed".to_owned())));
    screen.status(status(vec![]));
    assert!(!screen.later(9_000).iter().any(|effect| matches!(effect, Effect::Enter { .. })));
}

#[test]
fn what_was_to_be_joined_is_never_founded_by_trying_again_nor_the_other_way_round() {
    for (line, way) in [("/join ops", Way::Join), ("/create ops", Way::Found)] {
        let mut screen = Screen::in_lab(vec![]);
        assert_eq!(plain(screen.enters(line)), [enter("ops", way)]);
        screen.answer(entered(&screen, "ops", Err(unreachable())));
        assert!(plain(screen.later(3_000)).contains(&enter("ops", way)), "{line}: after a while");
        screen.input(Input::Lost);
        assert!(plain(screen.input(Input::Opened(None))).contains(&enter("ops", way)), "{line}: at another node");
    }
}

#[test]
fn a_network_that_was_entered_is_not_founded_anew_at_the_next_node() {
    for way in [Entered::Founded, Entered::Joined, Entered::Already, Entered::UnderWay] {
        let mut screen = Screen::new();
        screen.input(Input::Opened(None));
        screen.answer(entered(&screen, "lab", Ok(way)));
        screen.input(Input::Lost);
        assert!(plain(screen.input(Input::Opened(None))).contains(&enter("lab", Way::Join)), "{way:?}");
    }
}

#[test]
fn a_network_that_can_not_be_reached_is_complained_of_once_and_can_be_given_up() {
    for give_up in ["esc", "/leave ops"] {
        let mut screen = Screen::in_lab(vec![]);
        screen.enters("/join ops");
        screen.answer(entered(&screen, "ops", Err(unreachable())));
        assert_eq!(said(&screen), "can't get into ops: no discovery service answers");
        screen.later(9_000);
        screen.answer(entered(&screen, "ops", Err(unreachable())));
        assert_eq!(said(&screen), "", "it has been said");
        assert!(screen.shows("ops could not be reached through http://nds:7400; trying again until Esc"));
        screen.answer(entered(&screen, "ops", Err(Failure::Unreachable("another reason".to_owned()))));
        assert_eq!(said(&screen), "can't get into ops: another reason");
        // An attempt is under way.
        assert!(plain(screen.later(3_000)).contains(&enter("ops", Way::Join)));
        let under_way = entered(&screen, "ops", Ok(Entered::Joined));
        let effects = if give_up == "esc" { screen.key("esc") } else { screen.enters(give_up) };
        assert_eq!(effects, []);
        assert_eq!(said(&screen), "no longer trying to get into ops");
        screen.model.tasks.clear();
        assert!(!screen.later(9_000).iter().any(|effect| matches!(effect, Effect::Enter { .. })), "{give_up}");
        screen.answer(under_way);
        with_ops(&mut screen, 0);
        assert_eq!(screen.model.current.as_deref(), Some(LAB), "nobody wants to be elsewhere any more");
    }
}

#[test]
fn a_network_that_was_entered_by_somebody_else_is_tried_no_longer() {
    let mut screen = Screen::in_lab(vec![]);
    screen.enters("/join ops");
    screen.answer(entered(&screen, "ops", Err(unreachable())));
    assert!(screen.model.is_busy());
    with_ops(&mut screen, 0);
    assert_eq!(screen.model.current.as_deref(), Some(OPS));
    assert!(!screen.model.is_busy());
    assert!(!screen.later(9_000).iter().any(|effect| matches!(effect, Effect::Enter { .. })));
}
