//! The cast of a story, and the telling of sentences about it with consistent names and things.

mod template;

use self::template::{capitalise, choices, closing_brace};
use super::random::Random;
use super::words;

/// The cast of one story, and the facts that were already mentioned.
pub(super) struct Telling<'r> {
    random: &'r mut Random,
    past: bool,
    hero: Person,
    friend: Person,
    kinship: &'static str,
    trade: [&'static str; 4],
    places: Vec<&'static str>,
    spots: Vec<&'static str>,
    look: &'static str,
    thing: &'static str,
    good: (&'static str, &'static str),
    count: i64,
    given: i64,
    weather: [&'static str; 6],
    animal: &'static str,
    pet: &'static str,
    foods: Vec<&'static str>,
    tool: &'static str,
    days: Vec<&'static str>,
    times: Vec<&'static str>,
    hours: i64,
    price: i64,
    age: i64,
    friend_known: bool,
    thing_known: bool,
    before: Mentions,
    now: Mentions,
}

impl<'r> Telling<'r> {
    pub(super) fn new(random: &'r mut Random) -> Self {
        let hero = Person::draw(random);
        let friend = loop {
            let friend = Person::draw(random);
            if friend.name != hero.name {
                break friend;
            }
        };
        let kinships = if friend.woman { words::SISTERS } else { words::BROTHERS };
        let count = random.between(3, 20);
        Self {
            past: random.chance(75),
            hero,
            friend,
            kinship: random.word(kinships),
            trade: *random.pick(words::TRADES),
            places: random.words(words::PLACES, 3),
            spots: random.words(words::SPOTS, 2),
            look: random.word(words::LOOKS),
            thing: random.word(words::THINGS),
            good: random.word(words::GOODS).split_once(' ').expect("goods are pairs of words"),
            count,
            given: random.between(1, count - 2),
            weather: *random.pick(words::WEATHERS),
            animal: random.word(words::ANIMALS),
            pet: random.word(words::PETS),
            foods: random.words(words::FOODS, 2),
            tool: random.word(words::TOOLS),
            days: random.words("Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday", 2),
            times: random.words("morning|afternoon|evening|night", 2),
            hours: random.between(2, 9),
            price: random.between(2, 40),
            age: random.between(18, 79),
            friend_known: false,
            thing_known: false,
            before: Mentions::default(),
            now: Mentions::default(),
            random,
        }
    }

    /// Returns one sentence, beginning with a capital letter.
    pub(super) fn tell(&mut self, way: &'static str) -> String {
        self.before = std::mem::take(&mut self.now);
        let mut sentence = String::new();
        self.expand(way, &mut sentence);
        capitalise(sentence)
    }

    fn expand(&mut self, mut way: &'static str, into: &mut String) {
        while let Some(open) = way.find('{') {
            into.push_str(&way[..open]);
            let close = open + closing_brace(&way[open..]);
            let inside = &way[open + 1..close];
            let choices = choices(inside).count();
            if choices > 1 {
                let chosen = self.random.below(choices);
                let choice = self::choices(inside).nth(chosen).expect("chosen below the count");
                self.expand(choice, into);
            } else if let Some(rest) = inside.strip_prefix("a ") {
                let mut noun = String::new();
                self.expand(rest, &mut noun);
                into.push_str(words::article(&noun));
                into.push(' ');
                into.push_str(&noun);
            } else {
                let word = self.slot(inside);
                into.push_str(&word);
            }
            way = &way[close + 1..];
        }
        into.push_str(way);
    }

    /// Returns the text for a name in braces. A name that is not in the cast is a verb.
    fn slot(&mut self, name: &'static str) -> String {
        let [weather_noun, weather_verb, weather_adjective, ground, state, feeling] = self.weather;
        let left = self.count - self.given;
        match name {
            "H" => self.person(Who::Hero, true),
            "H!" => self.person(Who::Hero, false),
            "F" => self.person(Who::Friend, true),
            "F!" => self.person(Who::Friend, false),
            "Hname" => self.hero.name.into(),
            "Fname" => self.friend.name.into(),
            "he" | "him" | "his" | "himself" => self.hero.pronoun(name).into(),
            "fhe" | "fhim" | "fhis" => self.friend.pronoun(&name[1..]).into(),
            "o" => self.thing(false),
            "o!" => self.thing(true),
            "o1" => self.thing.into(),
            "o2" => format!("{} {}", self.look, self.thing),
            "ho" => {
                self.thing_known = true;
                format!("{} {} {}", self.hero.pronoun("his"), self.look, self.thing)
            }
            "at" => self.places[0].into(),
            "at2" => self.places[1].into(),
            "at3" => self.places[2].into(),
            "place" => bare(self.places[0]).into(),
            "place2" => bare(self.places[1]).into(),
            "place3" => bare(self.places[2]).into(),
            "spot" => self.spots[0].into(),
            "spot2" => self.spots[1].into(),
            "trade" => self.trade[0].into(),
            "trade-base" => self.trade[1].into(),
            "trade-verb" => self.verb(self.trade[1]),
            "product" => self.trade[2].into(),
            "products" => self.trade[3].into(),
            "made" => counted(self.count, (self.trade[2], self.trade[3])),
            "sold" => counted(self.given, (self.trade[2], self.trade[3])),
            "unsold" => counted(left, (self.trade[2], self.trade[3])),
            "goods" => self.good.1.into(),
            "count" => counted(self.count, self.good),
            "given" => counted(self.given, self.good),
            "left" => counted(left, self.good),
            "left-n" => words::count(left),
            "k" => words::count(self.given),
            "wnoun" => weather_noun.into(),
            "wverb" => self.verb(weather_verb),
            "wadj" => weather_adjective.into(),
            "wground" => ground.into(),
            "wstate" => state.into(),
            "wfeel" => feeling.into(),
            "animal" => self.animal.into(),
            "pet" => self.pet.into(),
            "food" => self.foods[0].into(),
            "food2" => self.foods[1].into(),
            "tool" => self.tool.into(),
            "day" => self.days[0].into(),
            "day2" => self.days[1].into(),
            "time" => self.times[0].into(),
            "time2" => self.times[1].into(),
            "hours" => words::count(self.hours),
            "price" => words::count(self.price),
            "age" => self.age.to_string(),
            "cannot" if self.past => "could not".into(),
            "cannot" => "cannot".into(),
            verb => {
                let base = verb.trim_start_matches('+');
                // All slots of the cast with a digit, a sign or a capital letter are handled above.
                debug_assert!(base.bytes().all(|b| b.is_ascii_lowercase()), "not a verb: {verb}");
                if verb == base { self.verb(base) } else { words::plural(base, self.past) }
            }
        }
    }

    fn verb(&self, base: &str) -> String {
        if self.past { words::past(base) } else { words::third_person(base) }
    }

    /// Returns a person's name, or a pronoun if that is unambiguous and allowed. The first mention of the friend explains who the
    /// friend is.
    fn person(&mut self, who: Who, may_be_pronoun: bool) -> String {
        let alike = self.hero.woman == self.friend.woman;
        let (known_before, other_named) = match who {
            Who::Hero => (self.before.hero, self.before.friend || self.now.friend),
            Who::Friend => (self.before.friend, self.before.hero || self.now.hero),
        };
        let clear = known_before && !(alike && other_named);
        // The pronoun would be in the subject form, and a friend may be the object.
        let pronoun = may_be_pronoun && who == Who::Hero && clear && self.random.chance(65);
        match who {
            Who::Hero => self.now.hero = true,
            Who::Friend => self.now.friend = true,
        }
        let person = if who == Who::Hero { &self.hero } else { &self.friend };
        if pronoun {
            return person.pronoun("he").into();
        }
        if who == Who::Friend && !self.friend_known {
            self.friend_known = true;
            return format!("{} {} {}", self.hero.pronoun("his"), self.kinship, self.friend.name);
        }
        person.name.into()
    }

    /// Returns the thing of the story: in full with "a" at the first mention, and with "the" after that.
    fn thing(&mut self, definite: bool) -> String {
        let full = format!("{} {}", self.look, self.thing);
        if !self.thing_known && !definite {
            self.thing_known = true;
            return format!("{} {full}", words::article(&full));
        }
        self.thing_known = true;
        if self.random.chance(50) { format!("the {}", self.thing) } else { format!("the {full}") }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Hero,
    Friend,
}

struct Person {
    name: &'static str,
    woman: bool,
}

impl Person {
    fn draw(random: &mut Random) -> Self {
        let woman = random.chance(50);
        Self { name: random.word(if woman { words::WOMEN } else { words::MEN }), woman }
    }

    /// Returns the person's form of "he", "him", "his" or "himself".
    fn pronoun(&self, man: &'static str) -> &'static str {
        match man {
            _ if !self.woman => man,
            "he" => "she",
            "him" | "his" => "her",
            _ => "herself",
        }
    }
}

/// The people whom a sentence names. A pronoun is clear if it can mean only one of them.
#[derive(Clone, Copy, Default)]
struct Mentions {
    hero: bool,
    friend: bool,
}

fn bare(place: &'static str) -> &'static str {
    place.split_once(" the ").expect("a place is a preposition, the article and a noun").1
}

fn counted(n: i64, (one, many): (&str, &str)) -> String {
    format!("{} {}", words::count(n), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_was_there_less_what_was_given() {
        let mut random = Random::new(13);
        for _ in 0..200 {
            let mut telling = Telling::new(&mut random);
            telling.count = 9;
            telling.given = 4;
            telling.good = ("egg", "eggs");
            assert_eq!(telling.tell("{count}, {given}, {left}."), "Nine eggs, four eggs, five eggs.");
        }
    }
}
