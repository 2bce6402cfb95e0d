//! The story grammar as data: the possible events, their order, and the sentences for each step.
//!
//! Each step has several alternative sentences. `{a|b}` is a choice, which may be nested. `{walk}` is a verb in the story's tense
//! after "she", and `{+walk}` after "they". `{a ...}` inserts the article that its first word requires. All other braces name a
//! member of the story's cast; `Telling::slot` lists these.

/// One step of a theme.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) keep: Keep,
    pub(super) ways: &'static [&'static str],
}

/// The condition under which a beat is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Always,
    IfRoom,
    /// The beat is an answer: it is told if and only if the previous beat is.
    WithPrevious,
}

const fn must(ways: &'static [&'static str]) -> Beat {
    Beat { keep: Keep::Always, ways }
}

const fn may(ways: &'static [&'static str]) -> Beat {
    Beat { keep: Keep::IfRoom, ways }
}

const fn then(ways: &'static [&'static str]) -> Beat {
    Beat { keep: Keep::WithPrevious, ways }
}

pub(super) const OPENING: Beat = must(&[
    "{H!} {be} {a {trade}} who {live} near the {place}.",
    "{H!} the {trade} {live} {alone|with {a {animal}}|in a {small|narrow|quiet} house} near the {place}.",
    "{Not far from|Close to|Behind} the {place} {live} {a {trade}} {called|named} {H!}.",
    "One {wadj} {time}, {H!} the {trade} {be} {at}.",
    "It {be} a {wadj} {time}, and {H!} {be} {at}.",
    "{H!} and {F} {+live} {near|close to|behind} the {place}.",
    "On {day}, {H!} and {F} {+be} {at}.",
    "{H!} {be} {age} years old and {work} as {a {trade}} {at}.",
    "Everyone {at} {know} {H!} the {trade}.",
    "{H!}, {a {trade}} from the {place2}, {come} to the {place} on {a {wadj}} {day}.",
    "The {wnoun} {wverb} all {night|day|week}, and {H!} {stay} {at}.",
]);

pub(super) const THEMES: &[&[Beat]] = &[
    // Something is lost and found.
    &[
        must(&[
            "{H} {have} {o}, and {he} {take} it everywhere.",
            "{his} {dearest|favourite|best} possession {be} {o}.",
            "{F} {have} given {him} {o} {last winter|the year before|as a present}.",
            "Every {time} {H} {carry} {o} to the {place2}.",
            "{H} {own} {o} that {have} belonged to {F}.",
        ]),
        may(&[
            "It {be} not worth {price} coins, but {H} {like} it very much.",
            "{H} {keep} it {spot} at night.",
            "Nobody else {at} {have} {a {o1}} like that.",
        ]),
        must(&[
            "One {time2}, {o!} {be} gone.",
            "{But|Then} one {time2} {H} {cannot} find {o!}{| anywhere}.",
            "When {H} {wake} up on {day}, {o!} {be} not there.",
            "On the way to the {place2}, {H} {lose} {o!}.",
        ]),
        may(&[
            "{H} {look} {spot2}, but it {be} not there.",
            "{H} {search} the {place2} and the {place3}, but {he} {find} nothing.",
            "{H} {look} {spot2} and then {at3}, but {o!} {be} not there.",
        ]),
        may(&[
            "\"Have you seen my {o2}?\" {H} {ask} {F!}.",
            "\"I have lost my {o2},\" {H} {say} to {F!}.",
            "\"Where is my {o2}?\" {ask} {H!}.",
        ]),
        then(&[
            "\"I saw it {spot},\" {say} {F!}.",
            "\"{Have you looked|Did you look} {spot}?\" {F} {ask}.",
            "\"No, but {I will help you to look for it|perhaps it is {spot}},\" {F} {answer}.",
        ]),
        must(&[
            "{At last|In the end|After {hours} hours} {H} {find} {o!} {spot}.",
            "And there it {be}: {o!} {lie} {spot}.",
            "{H} {look} {spot}, and there {be} {o!}.",
        ]),
        may(&[
            "The wind {have} carried it there.",
            "{{a {animal}} {have} hidden it there|it {have} fallen there by itself}.",
            "{H} {remember} now that {he} {have} put it there {himself}.",
        ]),
        may(&[
            "{H} {be} so {happy|glad|relieved} that {he} {laugh} aloud.",
            "{From then on|After that} {H} never {let} {o!} out of {his} sight.",
        ]),
    ],
    // Sharing: what is left is what was there less what was given.
    &[
        must(&[
            "{H} {have} {count} in {his} {bag|basket|pocket}.",
            "{H} {find} {count} {spot}.",
            "On {day} {H} {gather} {count} {at2}.",
            "{H} {buy} {count} {at2} for {price} coins.",
        ]),
        may(&[
            "{F} {have} none.",
            "{F} {have} no {goods} and {look} at them {sadly|in silence|with envy}.",
            "\"What a lot of {goods}!\" {say} {F!}.",
        ]),
        may(&["\"May I have {some|{given}}?\" {F} {ask}.", "\"How many {goods} do you have?\" {ask} {F!}."]),
        then(&["\"{Of course|Yes}, I have {count},\" {say} {H!}.", "\"I have {count},\" {H} {answer}."]),
        must(&[
            "{H} {give} {given} to {F}.",
            "{H} {lay} {given} {into {F}'s hands|on the table for {F}}.",
            "{F} {get} {given} from {H!}.",
            "So {H} {keep} {left} and {give} the other {k} to {F}.",
        ]),
        must(&[
            "Now {H} {have} {left}{| left}.",
            "That {leave} {left} for {H!}.",
            "{count} less {k} {be} {left}, and {H} {be} content with that.",
        ]),
        may(&[
            "\"Thank you, {Hname},\" {say} {F!}, and {fhe} {smile}.",
            "{F} {thank} {him} {twice|warmly|many times}.",
            "{F} {put} the {given} {spot}.",
        ]),
        may(&[
            "{In the evening|Later} they {+sit} {at3} and {+count} the {goods} again.",
            "{H} {hide} the rest {spot2}.",
        ]),
    ],
    // Something is carried from one place to another.
    &[
        must(&[
            "{One {time2}|On {day}|That {time}} {H} {have} to bring {o} to {F} {at2}.",
            "{F} {be} {at2} and {need} {o}, so {H!} {set} out to bring it.",
            "{H} {promise} to carry {o} to {F} before {the evening|noon|{day}}.",
        ]),
        may(&[
            "The way from the {place} to the {place2} {be} {hours} miles long.",
            "{H} {put} some {food} and {some {food2}|a bottle of water} into {his} bag and {lock} the door.",
            "It {be} {far|a long way}, and the {wground} {be} {wstate} because of the {wnoun}.",
        ]),
        may(&[
            "At the {bridge|crossing|old gate} {H} {meet} {a stranger|an old man|a child|two travellers}.",
            "{H} {come} to a place where the road {part}, and there {stand} {an old man|a soldier|a girl}.",
        ]),
        then(&[
            "\"Which way leads to the {place2}?\" {H} {ask}.",
            "\"Turn {left|right} at the {place3}, then you will see the {place2},\" {be} the answer.",
            "\"Where are you going with that {o2}?\" {be} the question.",
        ]),
        may(&[
            "{H} {walk} for {hours} hours {and {rest} only once|without a rest|through the {wnoun}}.",
            "Because the {wground} {be} {wstate}, {H} {go} slowly.",
            "{H} {grow} {wfeel}, but {he} {do} not turn back.",
        ]),
        must(&[
            "{When it {grow} dark|At noon|At last|Before {day} {be} over}, {H} {reach} the {place2}.",
            "After {hours} hours {H} {see} the {place2} {before {him}|in the distance}.",
        ]),
        must(&[
            "{F} {open} the door and {take} {o!}.",
            "{H} {put} {o!} into {F}'s hands.",
            "{F} {be} {glad|happy|surprised} to see {o!}.",
        ]),
        may(&[
            "\"Thank you, {Hname}, you have come {a long way|through the {wnoun}},\" {say} {F!}.",
            "\"Sit down and have some {food},\" {say} {F!}.",
            "\"Now I can {sleep well|begin my work|go home},\" {F} {say}.",
        ]),
        may(&[
            "{H} {stay} the night and {go} home on {day2}.",
            "They {+eat} {food} and {+talk} until {midnight|the {wnoun} {be} over|late}.",
        ]),
    ],
    // A thing breaks, a tool is borrowed and given back.
    &[
        must(&[
            "{One {time2}|On {day}} {H} {see} that {ho} {be} broken.",
            "{H} {drop} {ho}, and it {break} in two.",
            "The {wnoun} {have} ruined {ho}.",
            "{a {animal}} {have} sat on {ho}, and now it {be} bent.",
        ]),
        may(&[
            "{H} {try} to mend it {alone|with {his} bare hands|with string}, but {he} {cannot}.",
            "\"I need {a {tool}} for this,\" {H} {say}.",
            "{H} {have} everything but {a {tool}}.",
        ]),
        must(&[
            "So {H} {go} to {F} and {borrow} {a {tool}}.",
            "{F} {have} {a {tool}} and {lend} it to {him}.",
            "Luckily {F} {come} by with {a {tool}}.",
        ]),
        may(&[
            "\"Bring the {tool} back before {day},\" {say} {F!}.",
            "\"What do you need my {tool} for?\" {ask} {F!}.",
        ]),
        then(&["\"For my {o2},\" {H} {answer}.", "\"I {will|want to} mend my {o2},\" {say} {H!}."]),
        must(&[
            "{H} {work} for {hours} hours, and then {o!} {be} {whole|as good as new}.",
            "With the {tool}, {H} {mend} {o!} in {hours} hours.",
            "They {+work} until {evening|noon|dark}, and {o!} {be} {whole|better than before}.",
        ]),
        may(&[
            "{In the evening|On {day}} {H} {bring} the {tool} back to {F}.",
            "{H} {give} the {tool} back and {pay} {price} coins for the {help|glue|nails}.",
        ]),
    ],
    // An animal is found and named.
    &[
        must(&[
            "{On the way to the {place2}|That {time}} {H} {find} {a {thin|young|lame|wet} {animal}}.",
            "{a {little|grey|brown} {animal}} {sit} {spot} and {look} at {H!}.",
            "{H} {hear} a noise {spot}, and there {be} {a {animal}}.",
        ]),
        may(&[
            "It {shiver} because of the {wnoun}.",
            "It {be} hungry, so {he} {give} it some {food}.",
            "The {animal} {have} hurt its {leg|foot|ear}, and {H} {bind} it with a {ribbon|cloth}.",
        ]),
        may(&[
            "\"Whose {animal} is this?\" {ask} {F!}.",
            "\"What will you do with the {animal}?\" {F} {ask}.",
        ]),
        then(&["\"It is mine now,\" {H} {answer}.", "\"I will keep it,\" {say} {H!}."]),
        must(&[
            "The {animal} {follow} {him} {home|to the {place}|everywhere}.",
            "{H} {carry} the {animal} home {in {his} coat|in a basket|in {his} arms}.",
        ]),
        must(&[
            "{H} {call} the {animal} {pet}.",
            "{H} and {F} {+decide} to call the {animal} {pet}.",
            "\"Your name is {pet},\" {say} {H!} to the {animal}.",
        ]),
        may(&[
            "From that {time} on, {pet} {sleep} {spot}.",
            "{pet} {eat} {food} and {food2}, and {grow} {fat|strong|big}.",
            "{pet} {be} afraid of {the {wnoun}|nothing but the {wnoun}}.",
            "Soon everyone {at} {know} {pet} the {animal}.",
        ]),
    ],
    // A race, a helping hand, a prize.
    &[
        must(&[
            "{H} and {F} {+run} a race from the {place2} to the {place3}.",
            "{H} and {F} {+want} to know who {be} faster, so they {+agree} to race to the {place3}.",
        ]),
        may(&["The prize {be} {o}.", "The winner {will} get {o}."]),
        may(&[
            "At first {F} {be} {faster|{hours} steps ahead}.",
            "{F} {run} like the wind, and {H} {stay} behind.",
            "The {wground} {be} {wstate}, so they {+have} to be careful.",
        ]),
        must(&[
            "But {F} {fall} over {a {stone|root|bucket|{animal}}}.",
            "Then {F} {slip} because the {wground} {be} {wstate}.",
        ]),
        may(&[
            "{H} {stop} and {help} {fhim} up.",
            "\"Are you hurt?\" {H} {ask}.",
            "\"Wait for me!\" {cry} {F!}.",
        ]),
        must(&[
            "So {H} {win} by {hours} steps.",
            "In the end they {+reach} the {place3} together, and nobody {win}.",
            "{H} {be} the first to touch the wall {at3}.",
        ]),
        may(&[
            "\"{You are faster|That was a good race}, {Hname},\" {say} {F!}.",
            "\"Next {day} I will win,\" {say} {F!}.",
        ]),
    ],
    // A locked box.
    &[
        must(&[
            "{That {time}|On {day}} {H} {find} a {small|heavy|locked|dusty} box {spot}.",
            "A box {stand} {spot}, and {H} {do} not know whose it {be}.",
        ]),
        may(&[
            "It {be} locked, and the key {be} {spot2}.",
            "On the lid {stand} the number {age} and the name {Fname}.",
            "{H} {shake} it, and something {rattle} inside.",
        ]),
        may(&["\"What is in the box?\" {ask} {F!}.", "\"Shall we open it?\" {H} {ask} {F!}."]),
        then(&["\"We will see,\" {be} the answer.", "\"Perhaps {goods},\" {be} the answer."]),
        must(&[
            "{H} {open} it with {a {tool}} and {find} {count} inside.",
            "In the box {+be} {count} and {o}.",
            "{F} {know} where the key {be}, and in the box they {+find} {count}.",
        ]),
        must(&[
            "{H} {keep} {left} and {give} {given} to {F}.",
            "{H!} and {F} {+share} them: {left} for {Hname} and {given} for {Fname}.",
        ]),
        may(&[
            "The empty box {go} back {spot}.",
            "\"{Nobody will believe this|Let us tell no one},\" {F} {say}.",
        ]),
    ],
    // A letter and a visit.
    &[
        must(&["{On {day}|One {time2}} a letter {come} for {H!}.", "{H} {get} a letter from {F}."]),
        must(&[
            "It {say}: \"Come to the {place2} on {day2} and bring {a {o2}}.\"",
            "\"Dear {Hname}, I am waiting for you {at2},\" it {say}.",
            "\"Meet me {at2} at {hours} o'clock on {day2},\" {F} {have} written.",
        ]),
        may(&[
            "{H} {read} it {twice|{hours} times|aloud} and {put} it {spot}.",
            "{H} {wonder} what it {mean}.",
            "{H} {do} not wait and {pack} some {food} at once.",
        ]),
        must(&[
            "On {day2} {H} {go} to the {place2}.",
            "So {H} {take} {o} and {walk} to the {place2} on {day2}.",
            "{H} {ride} to the {place2} on {a {pony|donkey|bicycle|cart}}.",
        ]),
        must(&[
            "{F} {stand} {at2} and {wave}.",
            "{F} {be} already there, with {count} in {a basket|a bag|a box}.",
        ]),
        may(&[
            "\"You got my letter!\" {cry} {F!}.",
            "\"I {knew|hoped} you would come,\" {say} {F!}.",
            "\"Why did you write to me?\" {H} {ask}.",
        ]),
        then(&[
            "\"I will tell you everything,\" {be} the answer.",
            "\"Because {day2} is my birthday,\" {F} {say}.",
        ]),
        may(&["They {+talk} until {midnight|late}, and {+eat} {food} with {food2}."]),
    ],
    // Weather, cause and effect.
    &[
        must(&[
            "The {wnoun} {wverb} so {hard|long} that the {wground} {be} {wstate}.",
            "Because the {wnoun} {have} lasted for {hours} days, the {wground} {be} {wstate}.",
            "The {wground} {be} {wstate}, for the {wnoun} {have} lasted since {day}.",
        ]),
        must(&[
            "Therefore {H} {have} to stay {at} to mend {o}.",
            "So {H} {put} on a {warm|thick|light} coat and {take} {o} along.",
            "{H} {hear} the {animal} {spot}, and {he} {let} it in.",
        ]),
        may(&["\"When will the {wnoun} be over?\" {F} {ask}.", "\"I do not like the {wnoun},\" {say} {F!}."]),
        then(&[
            "\"On {day2}, I think,\" {H} {answer}.",
            "\"In {hours} {days|minutes},\" {say} {H!}.",
            "\"It does not matter, we have {food} and {food2},\" {H} {say}.",
        ]),
        may(&["On {day2} everything {be} {as before|well again}, and {H} {go} to the {place2}."]),
    ],
    // A riddle of numbers.
    &[
        must(&[
            "\"I have {count}, and I give you {given}: how many are left?\" {H} {ask} {F!}.",
            "\"If {a {trade}} has {count} and loses {k}, how many are left?\" {F} {ask}.",
        ]),
        may(&[
            "\"{More|Less} than {hours},\" {be} the first answer, but that {be} only a guess.",
            "{F} {draw} {goods} in the sand and {point} at each of them.",
        ]),
        must(&[
            "The {right|true} answer {be} {left-n}.",
            "\"{left},\" {be} the answer{| after {hours} minutes}.",
            "There {+be} {left}, {as {H!} {have} said|and {H} {know} it}.",
        ]),
        may(&["The {prize|reward} {be} {o}.", "\"That was easy,\" {say} {H!}."]),
    ],
    // A day's work: what is not sold is left.
    &[
        must(&[
            "{H} {work} {hard|all week|from {day} to {day2}} and {make} {made}.",
            "On {day} {H} {trade-verb} {made}.",
            "By {noon|evening|{day}} {H} {have} {made} ready.",
        ]),
        may(&[
            "{H} {take} them to the {place2} {in a cart|in two sacks|on {his} back}.",
            "Each {product} {cost} {price} coins.",
            "\"Your {products} are the best {at},\" {say} {F!}.",
        ]),
        must(&[
            "{F} {buy} {sold} {for {fhis} family|for {price} coins each|at once}.",
            "By {noon|evening} {H} {have} sold {sold}.",
            "{H} {sell} {sold} {at2}.",
        ]),
        must(&[
            "So {unsold} {+remain}.",
            "{H} {take} the other {left-n} home.",
            "Of the {made} only {unsold} {+be} left.",
        ]),
        may(&[
            "\"Tomorrow I will {trade-base} more,\" {say} {H!}.",
            "With the money {H} {buy} {o}.",
            "{H} {give} the money to {F}, who {need} it for {food}.",
        ]),
        may(&["{H} {be} tired but {content|happy|proud}."]),
    ],
];

/// Sentences that fit between any two others.
pub(super) const BETWEEN: &[&str] = &[
    "The {wnoun} {wverb}, and the {wground} {be} {wstate}.",
    "Because of the {wnoun}, the {wground} {be} {wstate}.",
    "It {be} a {wadj} {day}, and {H} {feel} {wfeel}.",
    "The {wnoun} {wverb} {all day|until {day}|for {hours} hours}.",
    "The clock {strike} {hours}.",
    "Somewhere {a {animal}} {cry}.",
    "{Outside|Far away} someone {{sing}|{laugh}|{call}|{whistle}}.",
    "{H} {drink} some {milk|water|tea} and {think} about {F}.",
    "{H} {be} hungry, so {he} {eat} some {food}.",
    "\"{What a {wadj} {time}|How quiet it is}!\" {say} {H!}.",
    "\"{I am {wfeel}|The {wground} is {wstate}},\" {H} {say}.",
    "{F} {say} nothing{| and {look} at the {wground}}.",
    "For a while nobody {say} a word.",
    "{H} {hum} a {song|tune} that {F} {have} taught {him}.",
    "The people {at} {+talk} about {nothing but the {wnoun}|it for {hours} days}.",
    "Nothing like this {have} happened since {day}.",
    "{H} {wear} a {coat|hat|scarf} because of the {wnoun}.",
    "{a {animal}} {run} {across the road|past {H!}|by}.",
];

/// Sentences that can end any story.
pub(super) const CLOSING: &[&str] = &[
    "{H} {go} home and {sleep} well.",
    "That {be} the end of {a {wadj}} {day}.",
    "{H} and {F} {+be} friends {ever after|from that {time} on|again}.",
    "\"{Good night|Until {day2}}, {Hname},\" {say} {F!}.",
    "{H} never {forget} that {time}.",
    "And the {wnoun} {be} over at last.",
    "When {day2} {come}, {H} {tell} {F} everything.",
    "Then the {wnoun} {stop}, and all {be} quiet {at}.",
    "\"{What a day|That was {a {wadj}} {day}}!\" {H} {say}.",
    "In the evening {H} {light} a {candle|lamp|fire} and {write} it all down.",
    "Who would have thought that on {day}?",
];
