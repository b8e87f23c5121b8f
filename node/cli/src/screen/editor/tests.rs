//! What keys do to a text. `|` is the cursor.

use super::*;

/// An editor with this text and the cursor in it.
fn at(text: &str) -> Editor {
    let (before, after) = text.split_once('|').expect("a cursor");
    let mut editor = Editor::new();
    assert!(editor.set_text(&[before, after].concat()));
    editor.at = before.len();
    editor
}

fn state(editor: &Editor) -> String {
    let (before, after) = editor.text.split_at(editor.at);
    format!("{before}|{after}")
}

/// What becomes of a text with one action.
fn after(text: &str, act: impl FnOnce(&mut Editor)) -> String {
    let mut editor = at(text);
    act(&mut editor);
    state(&editor)
}

const FAMILY: &str = "👨‍👩‍👧";
const FLAG: &str = "🇩🇪";

#[test]
fn everything_moves_by_what_readers_take_for_one_character() {
    for one in ["é", "e\u{301}", FAMILY, FLAG, "日", "नि", "\n"] {
        let (right, left) = (format!("a{one}|b"), format!("a|{one}b"));
        assert_eq!(after(&left, Editor::right), right);
        assert_eq!(after(&right, Editor::left), left);
        assert_eq!(after(&right, Editor::backspace), "a|b");
        assert_eq!(after(&left, Editor::delete), "a|b");
    }
    for (text, act) in [
        ("|a", Editor::left as fn(&mut Editor)),
        ("a|", Editor::right),
        ("|a", Editor::backspace),
        ("a|", Editor::delete),
    ] {
        assert_eq!(after(text, act), text, "at the end there is nothing to do");
    }
}

#[test]
fn columns_count_cells_of_what_is_shown() {
    for (text, column) in
        [("ab|", 2), ("日本|", 4), ("e\u{301}|", 1), (&format!("{FAMILY}|"), 6), ("سلام|", 4), ("\t|x", 4)]
    {
        assert_eq!(at(text).cursor(), (0, column), "{text:?}");
    }
    let editor = at("a\u{202e}b|\n\n日\tc");
    assert_eq!(editor.cursor(), (0, 10));
    assert_eq!(editor.lines().collect::<Vec<_>>(), ["a\\u{202e}b", "", "日    c"]);
    assert_eq!(at("one\ntwo|").cursor(), (1, 3));
    assert_eq!(Editor::new().lines().collect::<Vec<_>>(), [""]);
}

#[test]
fn a_paste_keeps_its_lines_and_loses_what_would_act() {
    let mut editor = at("<|>");
    assert!(editor.insert("a\r\nb\rc\n\td\u{1b}[2J\u{7}\u{9b}\u{0}"));
    assert_eq!(state(&editor), "<a\nb\nc\n\td[2J|>");
    assert_eq!(editor.text(), "<a\nb\nc\n\td[2J>");
}

#[test]
fn what_does_not_fit_is_left_out_and_said() {
    let mut editor = Editor::new();
    assert!(editor.insert(&"x".repeat(MAX_BYTES - 1)));
    assert!(!editor.insert("日本"));
    assert!(editor.newline());
    assert_eq!(editor.text().len(), MAX_BYTES);
    assert!(!editor.insert("y") && !editor.insert("日"));
    editor.kill_to_start();
    assert!(editor.yank());
    assert!(!editor.yank());
    assert_eq!(editor.text().len(), MAX_BYTES);
    assert!(!editor.set_text(&"z".repeat(MAX_BYTES + 1)));
}

#[test]
fn the_cursor_is_never_within_a_character() {
    let mut editor = at("e|");
    editor.insert("\u{301}");
    assert_eq!(state(&editor), "e\u{301}|");
    // The halves of a flag, a base before its mark, and what a deletion brings together.
    assert_eq!(after("|🇪", |editor| _ = editor.insert("🇩")), "🇩🇪|");
    assert_eq!(after("|\u{301}x", |editor| _ = editor.insert("e")), "e\u{301}|x");
    assert_eq!(after("🇩x|🇪!", Editor::backspace), "🇩🇪|!");
}

#[test]
fn words_are_passed_and_cut_as_a_whole() {
    for (text, left, right) in [
        ("one tw|o three", "one |two three", "one two| three"),
        ("one, |two", "|one, two", "one, two|"),
        ("a|, don't", "|a, don't", "a, don't|"),
        ("x\n|  yes!", "|x\n  yes!", "x\n  yes|!"),
        ("日本|語", "日|本語", "日本語|"),
        (" |-", "| -", " -|"),
    ] {
        assert_eq!(after(text, Editor::word_left), left);
        assert_eq!(after(text, Editor::word_right), right);
    }
    assert_eq!(after("one two|.", Editor::kill_word), "one |.");
}

#[test]
fn home_and_end_are_those_of_the_line() {
    assert_eq!(after("one\ntw|o\nthree", Editor::home), "one\n|two\nthree");
    assert_eq!(after("one\ntw|o\nthree", Editor::end), "one\ntwo|\nthree");
    assert_eq!(after("o|ne", Editor::home), "|one");
    assert_eq!(after("o|ne", Editor::end), "one|");
}

#[test]
fn up_and_down_keep_to_the_column_over_a_short_line() {
    let mut editor = at("日本語\nx\nabcd|e");
    assert!(editor.up());
    assert_eq!(state(&editor), "日本語\nx|\nabcde");
    assert!(editor.up());
    assert_eq!(state(&editor), "日本|語\nx\nabcde");
    assert!(!editor.up());
    assert!(editor.down() && editor.down());
    assert_eq!(state(&editor), "日本語\nx\nabcd|e");
    assert!(!editor.down());
    editor.up();
    editor.left();
    editor.down();
    assert_eq!(state(&editor), "日本語\nx\n|abcde", "another move chooses another column");
}

#[test]
fn what_is_cut_in_a_row_comes_back_as_one() {
    let mut editor = at("one two three| four\nfive");
    editor.kill_word();
    editor.kill_word();
    assert_eq!(state(&editor), "one | four\nfive");
    editor.yank();
    assert_eq!(state(&editor), "one two three| four\nfive");
    editor.kill_to_end();
    editor.kill_to_end();
    assert_eq!(state(&editor), "one two three|five");
    editor.end();
    editor.yank();
    assert_eq!(state(&editor), "one two threefive four\n|");
    editor.kill_to_start();
    assert_eq!(state(&editor), "one two threefive four|");
    editor.kill_to_start();
    assert_eq!(state(&editor), "|");
    editor.yank();
    assert_eq!(state(&editor), "one two threefive four\n|");
    let mut editor = at("x|");
    editor.kill_to_end();
    editor.yank();
    assert_eq!(state(&editor), "x|", "nothing was cut");
}

#[test]
fn the_history_keeps_the_draft() {
    let mut editor = Editor::new();
    editor.history_prev();
    editor.history_next();
    assert!(editor.is_empty());
    for text in ["one", "two", "two", "  "] {
        editor.insert(text);
        assert_eq!(editor.take(), text);
    }
    editor.insert("dra");
    editor.history_prev();
    assert_eq!(state(&editor), "two|");
    editor.history_prev();
    editor.history_prev();
    assert_eq!(state(&editor), "one|");
    editor.history_next();
    editor.history_next();
    assert_eq!(state(&editor), "dra|");
    editor.history_next();
    editor.insert("ft");
    editor.history_prev();
    editor.insert("!");
    assert_eq!(editor.take(), "two!");
    editor.history_prev();
    assert_eq!(state(&editor), "two!|");
    editor.history_next();
    assert!(editor.is_empty(), "what was sent is no draft");
}

#[test]
fn nothing_is_lost_on_the_way_through_the_history() {
    let mut editor = Editor::new();
    for text in ["one", "two"] {
        editor.insert(text);
        editor.take();
    }
    editor.insert("begun");
    editor.history_prev();
    editor.set_text("");
    editor.insert("a long text");
    editor.history_prev();
    assert_eq!(state(&editor), "begun|", "what was being written before the line was cleared");
    editor.history_next();
    assert_eq!(state(&editor), "a long text|");
    editor.history_prev();
    editor.history_prev();
    editor.insert("!");
    editor.history_prev();
    assert_eq!(state(&editor), "one|");
    editor.history_next();
    assert_eq!(state(&editor), "two!|", "as it was changed");
    editor.history_next();
    editor.history_next();
    assert_eq!(editor.take(), "a long text");
    for text in ["a long text|", "begun|", "two|", "one|"] {
        editor.history_prev();
        assert_eq!(state(&editor), text);
    }
}

#[test]
fn the_history_is_bounded() {
    let mut editor = Editor::new();
    for number in 0..600 {
        editor.insert(&number.to_string());
        editor.take();
    }
    (0..600).for_each(|_| editor.history_prev());
    assert_eq!(editor.text(), "100");
    for letter in ["a", "b", "c", "d", "e"] {
        editor.set_text(&letter.repeat(MAX_BYTES));
        editor.take();
    }
    (0..600).for_each(|_| editor.history_prev());
    assert!(editor.text().starts_with('b'), "four are a mebibyte");
}

#[test]
fn an_emoji_is_made_of_its_name_when_the_colon_is_typed() {
    let typed = |text: &str| {
        let mut editor = Editor::new();
        text.chars().for_each(|c| _ = editor.insert(c.encode_utf8(&mut [0; 4])));
        editor.text().to_owned()
    };
    assert_eq!(typed("hi :wave: :+1:"), "hi 👋 👍");
    assert_eq!(typed(":wave::wave:"), "👋👋");
    for plain in ["12:100:", "std::mem::", ":nosuchname:", "::", ": :", "a: b:"] {
        assert_eq!(typed(plain), plain);
    }
    let mut editor = Editor::new();
    editor.insert(":wave:");
    assert_eq!(editor.text(), ":wave:", "a paste is taken as it is");
    let mut editor = at(":wave:|");
    editor.left();
    editor.kill_to_end();
    editor.yank();
    assert_eq!(editor.text(), ":wave:", "and so is what was cut");
}

fn strings<const N: usize>(of: [&str; N]) -> Vec<String> {
    of.map(str::to_owned).to_vec()
}

/// What is shown after so many completions of a text, forward or, where negative, backward.
fn completed(text: &str, times: i32) -> String {
    let nicks = strings(["bob", "Bo Peep", "carol", "bob"]);
    let (commands, networks) = (strings(["/join", "/inspect", "/me"]), strings(["lab", "lobby"]));
    let candidates = Candidates { nicks: &nicks, commands: &commands, networks: &networks };
    let direction = if times < 0 { Direction::Back } else { Direction::Forward };
    after(text, |editor| (0..times.abs()).for_each(|_| _ = editor.complete(&candidates, direction)))
}

#[test]
fn names_are_completed_in_turns_and_the_word_comes_back() {
    let turns = ["BO|", "bob: |", "Bo Peep: |"];
    for times in -6..6_i32 {
        assert_eq!(completed("BO|", times), turns[times.rem_euclid(3) as usize], "{times}");
    }
    assert_eq!(completed("hi c|!", 1), "hi carol |!");
    assert_eq!(completed("hi c|!", 2), "hi carol |!", "there is no other");
    assert_eq!(completed("|", 1), "bob: |");
    assert_eq!(completed("dave|", 1), "dave|");
    assert_eq!(completed("\u{3000}c|", 1), "\u{3000}carol |");
}

#[test]
fn commands_their_arguments_and_emoji_are_completed() {
    assert_eq!(completed("/|", 2), "/inspect |");
    assert_eq!(completed("/J|", 1), "/join |");
    assert_eq!(completed("/join l|", 2), "/join lobby |");
    assert_eq!(completed("/me waves at car|", 1), "/me waves at carol |");
    assert_eq!(completed("say /j|", 1), "say /j|");
    assert_eq!(completed("hi :wav|", 1), "hi 👋|");
    assert_eq!(completed("/me :wav|", 1), "/me 👋|");
    assert_eq!(completed(":nosuchname|", 1), ":nosuchname|");
}

#[test]
fn any_other_action_ends_a_completion() {
    let nicks = strings(["bob", "bonnie"]);
    let candidates = Candidates { nicks: &nicks, ..Candidates::default() };
    let mut editor = at("b|");
    assert!(editor.complete(&candidates, Direction::Forward));
    editor.insert("b");
    assert!(editor.complete(&candidates, Direction::Forward));
    assert_eq!(state(&editor), "bob: bob |");
    editor.insert("x");
    assert!(!editor.complete(&candidates, Direction::Forward));
}
