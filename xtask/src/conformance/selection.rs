//! Which tests are run: test classes by module, some of them with only some of their methods.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::outcome::Test;

/// A module of Apache Kafka and the artifact whose `test` jar holds its integration tests. The tests of clients and servers
/// first: they tell most in the least time.
pub const MODULES: &[(&str, &str)] = &[
    ("core", "kafka_2.13"),
    ("tools", "kafka-tools"),
    ("clients", "kafka-clients-integration-tests"),
    ("server", "kafka-server"),
    ("storage", "kafka-storage"),
    ("testkit", "kafka-test-common-runtime"),
    ("streams", "kafka-streams-integration-tests"),
    ("connect", "connect-runtime"),
    ("mirror", "connect-mirror"),
];

/// The classes of each module that start a cluster: (module, class).
pub type Classes = BTreeSet<(String, String)>;

/// The methods of a class; none named means all.
type Methods = BTreeSet<String>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    classes: BTreeMap<(String, String), Methods>,
    whole_modules: BTreeSet<String>,
}

impl Selection {
    pub fn everything(classes: &Classes) -> Self {
        Self {
            classes: classes.iter().map(|class| (class.clone(), Methods::new())).collect(),
            whole_modules: classes.iter().map(|(module, _)| module.clone()).collect(),
        }
    }

    /// What the words name: `module`, `Class`, `Class#method`, each class by its simple or full name, also as `module:Class`.
    pub fn of(words: &[String], classes: &Classes) -> Result<Self, String> {
        let mut selection = Self::default();
        for word in words {
            if MODULES.iter().any(|(module, _)| module == word) {
                selection.whole_modules.insert(word.clone());
                for class in classes.iter().filter(|(module, _)| module == word) {
                    selection.classes.insert(class.clone(), Methods::new());
                }
                continue;
            }
            let (class, method) =
                word.split_once('#').map_or((&**word, None), |(class, method)| (class, Some(method)));
            let (module, name) =
                class.split_once(':').map_or((None, class), |(module, name)| (Some(module), name));
            let mut found = classes.iter().filter(|(in_module, full)| {
                let simple = full.rsplit('.').next();
                module.is_none_or(|module| module == in_module) && (full == name || simple == Some(name))
            });
            let class =
                found.next().ok_or_else(|| format!("no class that starts a cluster is called {word}"))?;
            selection.add(class, method);
        }
        Ok(selection)
    }

    fn add(&mut self, class: &(String, String), method: Option<&str>) {
        let known = self.classes.contains_key(class);
        let methods = self.classes.entry(class.clone()).or_default();
        match method {
            None => methods.clear(),
            Some(_) if known && methods.is_empty() => {}
            Some(method) => _ = methods.insert(method.to_owned()),
        }
    }

    /// The methods of this selection that `tests` name.
    pub fn only(&self, tests: &BTreeSet<Test>) -> Self {
        let mut narrowed = Self::default();
        for test in tests.iter().filter(|test| self.contains(test)) {
            narrowed.add(&(test.module.clone(), test.class.clone()), Some(&test.method));
        }
        narrowed
    }

    pub fn contains(&self, test: &Test) -> bool {
        let methods = self.classes.get(&(test.module.clone(), test.class.clone()));
        methods.is_some_and(|methods| methods.is_empty() || methods.contains(&test.method))
    }

    pub fn whole_modules(&self) -> impl Iterator<Item = &str> {
        self.whole_modules.iter().map(String::as_str)
    }

    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// One line per class for the process that runs it: the module, then the class or its methods, separated by tabs.
    pub fn lines(&self) -> Vec<String> {
        let rank = |module: &str| MODULES.iter().position(|(name, _)| *name == module);
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by_key(|((module, class), _)| (rank(module), class.clone()));
        let line = |((module, class), methods): (&(String, String), &Methods)| {
            let mut line = vec![module.clone()];
            match methods.is_empty() {
                true => line.push(class.clone()),
                false => line.extend(methods.iter().map(|method| format!("{class}#{method}"))),
            }
            line.join("\t")
        };
        classes.into_iter().map(line).collect()
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: usize = self.classes.values().map(BTreeSet::len).sum();
        write!(f, "{} classes", self.classes.len())?;
        if methods > 0 { write!(f, ", {methods} methods chosen") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Classes {
        [("core", "kafka.server.ATest"), ("core", "kafka.server.BTest"), ("tools", "org.x.ATest")]
            .map(|(module, class)| (module.to_owned(), class.to_owned()))
            .into()
    }

    fn lines(words: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Selection::of(&words, &classes()).map(|selection| selection.lines())
    }

    #[test]
    fn words_name_modules_classes_and_methods() {
        assert_eq!(lines(&["core"]).unwrap(), ["core\tkafka.server.ATest", "core\tkafka.server.BTest"]);
        assert_eq!(lines(&["tools:ATest"]).unwrap(), ["tools\torg.x.ATest"]);
        assert_eq!(
            lines(&["BTest#b", "kafka.server.BTest#a"]).unwrap(),
            ["core\tkafka.server.BTest#a\tkafka.server.BTest#b"]
        );
        assert!(lines(&["CTest"]).is_err());
    }

    #[test]
    fn a_whole_class_swallows_its_methods() {
        for words in [["BTest#b", "BTest"], ["BTest", "BTest#b"]] {
            assert_eq!(lines(&words).unwrap(), ["core\tkafka.server.BTest"]);
        }
    }

    #[test]
    fn the_allow_list_narrows() {
        let test = |class: &str, method: &str| Test {
            module: "core".to_owned(),
            class: class.to_owned(),
            method: method.to_owned(),
            invocation: String::new(),
        };
        let allowed = [test("kafka.server.ATest", "x"), test("gone.CTest", "y")].into();
        let narrowed = Selection::everything(&classes()).only(&allowed);
        assert_eq!(narrowed.lines(), ["core\tkafka.server.ATest#x"]);
        assert!(narrowed.contains(&test("kafka.server.ATest", "x")));
        assert!(
            !narrowed.contains(&test("kafka.server.ATest", "z")) && narrowed.whole_modules().next().is_none()
        );
    }
}
