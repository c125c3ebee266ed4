//! The build plan: which buildpacks stay, and who provides what. Pure.

use serde::{Deserialize, Serialize};

/// What a detect wrote: the first alternative, and more under `[[or]]`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Written {
    #[serde(flatten)]
    first: Alternative,
    #[serde(default)]
    or: Vec<Alternative>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Alternative {
    #[serde(default)]
    pub provides: Vec<Provide>,
    #[serde(default)]
    pub requires: Vec<Require>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Provide {
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Require {
    pub name: String,
    #[serde(default)]
    pub metadata: toml::Table,
}

/// One dependency: who may provide it (index into the group given to [`resolve`]) and what was asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PlanEntry {
    pub name: String,
    pub providers: Vec<usize>,
    pub requires: Vec<Require>,
}

/// The members (by index) that stay, and the plan; `None` if no combination works.
pub(crate) fn resolve(group: &[(Written, bool)]) -> Option<(Vec<usize>, Vec<PlanEntry>)> {
    let alternatives: Vec<Vec<&Alternative>> = group.iter().map(|(w, _)| std::iter::once(&w.first).chain(&w.or).collect()).collect();
    let mut choice = vec![0; group.len()];
    loop {
        let chosen: Vec<&Alternative> = choice.iter().zip(&alternatives).map(|(c, a)| a[*c]).collect();
        if let Some(found) = trial(group, &chosen) {
            return Some(found);
        }
        // Depth first, left to right: the last member's alternatives vary fastest.
        let at = (0..choice.len()).rev().find(|i| choice[*i] + 1 < alternatives[*i].len())?;
        choice[at] += 1;
        choice[at + 1..].fill(0);
    }
}

fn trial(group: &[(Written, bool)], chosen: &[&Alternative]) -> Option<(Vec<usize>, Vec<PlanEntry>)> {
    let mut kept: Vec<usize> = (0..group.len()).collect();
    loop {
        let provided = |at: usize, name: &str| kept[..=at].iter().any(|m| chosen[*m].provides.iter().any(|p| p.name == name));
        let required = |at: usize, name: &str| kept[at..].iter().any(|m| chosen[*m].requires.iter().any(|r| r.name == name));
        let unmet = (0..kept.len()).find(|at| {
            let alternative = chosen[kept[*at]];
            alternative.requires.iter().any(|r| !provided(*at, &r.name)) || alternative.provides.iter().any(|p| !required(*at, &p.name))
        });
        match unmet {
            None => break,
            Some(at) if group[kept[at]].1 => drop(kept.remove(at)),
            Some(_) => return None,
        }
    }
    if kept.is_empty() {
        return None;
    }
    let mut entries: Vec<PlanEntry> = Vec::new();
    for member in &kept {
        for provide in &chosen[*member].provides {
            match entries.iter_mut().find(|e| e.name == provide.name) {
                Some(entry) => entry.providers.push(*member),
                None => entries.push(PlanEntry { name: provide.name.clone(), providers: vec![*member], requires: Vec::new() }),
            }
        }
        for require in &chosen[*member].requires {
            if let Some(entry) = entries.iter_mut().find(|e| e.name == require.name) {
                entry.requires.push(require.clone());
            }
        }
    }
    Some((kept, entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Written {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn takes_the_first_alternative_that_works() {
        let a = written("[[provides]]\nname='x'\n[[or]]\n[[or.provides]]\nname='y'");
        let b = written("[[requires]]\nname='y'\n[requires.metadata]\nv=1");
        let (kept, plan) = resolve(&[(a, false), (b, false)]).unwrap();
        assert_eq!((kept, plan[0].name.as_str(), plan[0].requires.len()), (vec![0, 1], "y", 1));
    }

    #[test]
    fn an_optional_member_without_its_need_leaves() {
        let needs = || written("[[requires]]\nname='gone'");
        assert_eq!(resolve(&[(Written::default(), false), (needs(), true)]).unwrap().0, [0]);
        assert!(resolve(&[(Written::default(), false), (needs(), false)]).is_none());
        assert!(resolve(&[(needs(), true)]).is_none(), "an empty result is no group");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_closed(names in proptest::collection::vec((0..4u8, 0..4u8, any::<bool>()), 1..6)) {
            let group: Vec<_> = names.iter().map(|(p, r, optional)| {
                let part = |kind: &str, n: u8| if n == 0 { String::new() } else { format!("[[{kind}]]\nname='{n}'\n") };
                (written(&(part("provides", *p) + &part("requires", *r))), *optional)
            }).collect();
            if let Some((kept, plan)) = resolve(&group) {
                for (member, (provides, requires, optional)) in names.iter().enumerate() {
                    prop_assert!(*optional || kept.contains(&member));
                    if kept.contains(&member) {
                        prop_assert!(*requires == 0 || plan.iter().any(|e| e.name == requires.to_string() && e.providers[0] <= member));
                        prop_assert!(*provides == 0 || plan.iter().any(|e| e.name == provides.to_string() && !e.requires.is_empty()));
                    }
                }
            }
        }
    }
}
