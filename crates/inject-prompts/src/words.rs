//! The words of stories: lists, forms of verbs, articles and counts.
//!
//! A list is one string with bars between its words, so that it can be read as a line.

pub(super) const WOMEN: &str = "Mara|Ada|Ines|Nora|Lucy|Clara|Edith|Rosa|Tilda|Vera|Wanda|Greta|\
    Hanna|Iris|Jana|Karla|Lena|Mina|Olga|Paula|Ruth|Sara|Thea|Una|Yara|Zoe|Anna|Berta|Celia|Dora|\
    Elsa|Flora|Gwen|Helen|Ivy|Julia|Kate|Lydia|Molly|Nell|Olive|Pearl|Rita|Stella|Tessa|Alma|Bess|\
    Cora|Delia|Emma|Agnes|Bella|Carol|Diana|Eva|Grace|Holly|Irma|Joan|Lily";
pub(super) const MEN: &str = "Tom|Ben|Otto|Emil|Hugo|Jonas|Karl|Leo|Max|Nils|Oscar|Paul|Ralf|Simon|\
    Theo|Victor|Walter|Adam|Boris|Conrad|David|Edgar|Felix|George|Henry|Ivan|Jacob|Kurt|Lars|\
    Martin|Noah|Oliver|Peter|Robin|Samuel|Toby|Ulrich|Vincent|William|Arthur|Bruno|Casper|Daniel|\
    Erik|Frank|Gustav|Harold|Isaac|Julian|Luke|Albert|Basil|Colin|Dennis|Ernest|Gilbert|Howard|\
    James|Kevin|Lewis";

pub(super) const SISTERS: &str = "sister|aunt|cousin|neighbour|old friend|friend|grandmother|teacher";
pub(super) const BROTHERS: &str = "brother|uncle|cousin|neighbour|old friend|friend|grandfather|teacher";

/// A trade: name, verb, its product (one, many).
pub(super) const TRADES: &[[&str; 4]] = &[
    ["baker", "bake", "loaf", "loaves"],
    ["potter", "shape", "bowl", "bowls"],
    ["weaver", "weave", "blanket", "blankets"],
    ["gardener", "grow", "pumpkin", "pumpkins"],
    ["painter", "paint", "picture", "pictures"],
    ["carpenter", "build", "chair", "chairs"],
    ["fisher", "catch", "trout", "trout"],
    ["tailor", "sew", "shirt", "shirts"],
    ["cobbler", "make", "pair of shoes", "pairs of shoes"],
    ["printer", "print", "poster", "posters"],
    ["farmer", "gather", "egg", "eggs"],
    ["beekeeper", "fill", "jar of honey", "jars of honey"],
    ["cook", "prepare", "pie", "pies"],
    ["glassblower", "blow", "bottle", "bottles"],
    ["candlemaker", "pour", "candle", "candles"],
    ["basketmaker", "plait", "basket", "baskets"],
];

/// Places, each with its preposition.
pub(super) const PLACES: &str = "in the forest|at the harbour|in the village|on the hill|\
    in the market|at the mill|in the garden|by the river|at the station|in the library|\
    on the island|at the lighthouse|in the valley|by the lake|in the bakery|at the school|\
    in the barn|on the beach|at the inn|in the meadow|by the well|in the tower|at the workshop|\
    in the orchard|on the farm|at the castle|in the park|by the bridge";
pub(super) const SPOTS: &str = "under the bench|behind the stove|inside the blue cupboard|\
    on the top shelf|beside the gate|under the stairs|behind the curtain|in a hollow tree|\
    below the window|between two stones|under a heap of leaves|in the old chest|near the pump|\
    on the roof|in the tall grass|under the bed|in the empty barrel|next to the clock|\
    behind the third door|in the wheelbarrow";

pub(super) const THINGS: &str = "kite|lantern|drum|whistle|scarf|map|clock|ring|flute|spoon|bell|\
    compass|mirror|hat|basket|blanket|boat|notebook|key|cup|coat|doll|umbrella|teapot|fiddle|\
    telescope|purse|necklace|bucket|rope|brush|pipe|medal|puppet|saddle|ladder";
pub(super) const LOOKS: &str = "red|green|blue|yellow|old|small|silver|wooden|brass|striped|heavy|\
    golden|grey|white|black|round|painted|shiny|tiny|orange|rusty|purple|plain|copper|ivory|brown";
/// Countable things: singular, plural.
pub(super) const GOODS: &str = "apple apples|egg eggs|coin coins|shell shells|letter letters|\
    pear pears|button buttons|stamp stamps|candle candles|plum plums|marble marbles|nut nuts|\
    potato potatoes|biscuit biscuits|ticket tickets|feather feathers|pencil pencils|stone stones|\
    onion onions|ribbon ribbons|card cards|cherry cherries|carrot carrots|bead beads";

pub(super) const ANIMALS: &str = "cat|dog|goat|hen|fox|crow|donkey|hedgehog|goose|rabbit|mouse|owl|\
    pony|squirrel|duck|lamb|badger|raven";
pub(super) const PETS: &str = "Pepper|Button|Biscuit|Shadow|Pebble|Clover|Ginger|Thimble|Acorn|\
    Soot|Hazel|Nutmeg|Bramble|Captain|Whisper|Rusty";
pub(super) const FOODS: &str = "bread|soup|cheese|porridge|cake|milk|rice|honey|fish|cabbage|butter|\
    stew|jam|corn";
pub(super) const TOOLS: &str =
    "saw|needle|hammer|file|chisel|drill|spade|pair of pliers|pot of glue|knife|screwdriver|axe";

/// Weather: the noun, its verb, the adjective, the thing that it changes, the result of the change, and the feeling that it
/// causes.
pub(super) const WEATHERS: &[[&str; 6]] = &[
    ["rain", "fall", "rainy", "path", "muddy", "wet"],
    ["snow", "fall", "snowy", "road", "white", "cold"],
    ["wind", "blow", "windy", "sea", "rough", "tired"],
    ["sunshine", "linger", "sunny", "grass", "dry", "warm"],
    ["fog", "drift", "foggy", "valley", "grey", "lost"],
    ["storm", "roar", "stormy", "river", "high", "afraid"],
    ["frost", "glitter", "frosty", "bridge", "slippery", "cold"],
    ["heat", "linger", "hot", "well", "empty", "thirsty"],
    ["thunder", "rumble", "dark", "sky", "black", "uneasy"],
    ["mist", "rise", "misty", "field", "damp", "sleepy"],
];

/// Returns the third-person form of a verb.
pub(super) fn third_person(base: &str) -> String {
    match base {
        "be" => "is".into(),
        "have" => "has".into(),
        "can" => "can".into(),
        "will" => "will".into(),
        _ => match with_s(base) {
            Some(form) => form,
            None => format!("{base}s"),
        },
    }
}

/// Endings that take more than the letter s.
fn with_s(base: &str) -> Option<String> {
    if let Some(stem) = before_consonant_y(base) {
        return Some(format!("{stem}ies"));
    }
    let hisses = ["s", "x", "z", "ch", "sh", "o"];
    hisses.iter().any(|ending| base.ends_with(ending)).then(|| format!("{base}es"))
}

fn before_consonant_y(base: &str) -> Option<&str> {
    let stem = base.strip_suffix('y')?;
    (!stem.ends_with(['a', 'e', 'o', 'u'])).then_some(stem)
}

/// Returns the past tense of a verb.
pub(super) fn past(base: &str) -> String {
    if let Some(at) = IRREGULAR.iter().position(|[present, _]| *present == base) {
        return IRREGULAR[at][1].into();
    }
    if let Some(stem) = before_consonant_y(base) {
        return format!("{stem}ied");
    }
    if base.ends_with('e') { format!("{base}d") } else { format!("{base}ed") }
}

#[rustfmt::skip]
const IRREGULAR: &[[&str; 2]] = &[
    ["be", "was"], ["have", "had"], ["do", "did"], ["can", "could"], ["will", "would"],
    ["go", "went"], ["come", "came"], ["run", "ran"], ["see", "saw"], ["say", "said"],
    ["find", "found"], ["lose", "lost"], ["give", "gave"], ["take", "took"], ["bring", "brought"],
    ["make", "made"], ["know", "knew"], ["think", "thought"], ["tell", "told"], ["keep", "kept"],
    ["leave", "left"], ["hold", "held"], ["put", "put"], ["buy", "bought"], ["sell", "sold"],
    ["hear", "heard"], ["feel", "felt"], ["eat", "ate"], ["drink", "drank"], ["sit", "sat"],
    ["stand", "stood"], ["fall", "fell"], ["blow", "blew"], ["shine", "shone"], ["rise", "rose"],
    ["write", "wrote"], ["read", "read"], ["sing", "sang"], ["sleep", "slept"], ["wake", "woke"],
    ["build", "built"], ["catch", "caught"], ["weave", "wove"], ["grow", "grew"], ["meet", "met"],
    ["pay", "paid"], ["hide", "hid"], ["win", "won"], ["begin", "began"], ["forget", "forgot"],
    ["stop", "stopped"], ["carry", "carried"], ["send", "sent"], ["set", "set"], ["get", "got"],
    ["ride", "rode"], ["draw", "drew"], ["lie", "lay"], ["smell", "smelled"], ["nod", "nodded"],
    ["break", "broke"], ["swim", "swam"], ["spend", "spent"], ["teach", "taught"], ["cut", "cut"],
    ["light", "lit"], ["creep", "crept"], ["hum", "hummed"], ["lead", "led"], ["beat", "beat"],
    ["lend", "lent"], ["hang", "hung"], ["become", "became"], ["let", "let"], ["shut", "shut"],
    ["strike", "struck"], ["mean", "meant"], ["wear", "wore"], ["shake", "shook"],
    ["bind", "bound"], ["drop", "dropped"], ["slip", "slipped"], ["lay", "laid"],
    ["cost", "cost"],
];

/// Returns the form of a verb after "they", given its base form.
pub(super) fn plural(base: &str, past_tense: bool) -> String {
    match (base, past_tense) {
        ("be", true) => "were".into(),
        ("be", false) => "are".into(),
        (_, true) => past(base),
        (_, false) => base.into(),
    }
}

/// Returns "an" before a vowel, otherwise "a". The first letter determines the sound of every word in these lists.
pub(super) fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// Returns a count as text: words up to twelve, then digits.
pub(super) fn count(n: i64) -> String {
    const WORDS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    match usize::try_from(n).ok().and_then(|n| WORDS.get(n)) {
        Some(word) => (*word).into(),
        None => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_agree_in_tense_and_number() {
        let forms = [("carry", "carries", "carried"), ("watch", "watches", "watched")];
        for (base, third, was) in forms {
            assert_eq!((third_person(base), past(base)), (third.into(), was.into()));
        }
        assert_eq!((third_person("be"), past("go")), ("is".into(), "went".into()));
        assert_eq!((third_person("play"), past("play")), ("plays".into(), "played".into()));
        assert_eq!((plural("be", true), plural("walk", false)), ("were".into(), "walk".into()));
    }

    #[test]
    fn counts_are_words_up_to_twelve() {
        assert_eq!((count(1), count(12), count(13)), ("one".into(), "twelve".into(), "13".into()));
    }
}
