"""Values that a script made, kept in a file, or compared with those that are kept there."""
import json
import sys

# Sums are added up in another order by other versions and processors: relative, after as many steps as there are.
MOST = 2e-6


def numbers(golden, place=""):
    """Every number of it, with the place where it stands."""
    if isinstance(golden, dict):
        for key, part in golden.items():
            yield from numbers(part, f"{place}.{key}")
    elif isinstance(golden, list):
        for index, part in enumerate(golden):
            yield from numbers(part, f"{place}[{index}]")
    else:
        yield place, golden


def keep(path, golden):
    """Writes what was made; with --check it compares instead, and ends with exit code 1 where something is another."""
    if "--check" not in sys.argv[1:]:
        path.write_text(json.dumps(golden, indent=1) + "\n")
        return
    made, kept = dict(numbers(golden)), dict(numbers(json.loads(path.read_text())))
    apart = [place for place in made.keys() ^ kept.keys()]
    worst = 0.0
    for place in made.keys() & kept.keys():
        here, there = made[place], kept[place]
        if isinstance(here, float):
            off = abs(here - there) / max(abs(there), 1e-30)
            worst = max(worst, off)
            if not off <= MOST:
                apart.append(f"{place}: {here}, kept is {there}")
        elif here != there:
            apart.append(f"{place}: {here}, kept is {there}")
    if apart:
        sys.exit(f"{path.name}: made anew, {len(apart)} values are others:\n" + "\n".join(sorted(apart)[:10]))
    print(f"{path.name}: {len(made)} values, made anew, are at most {worst:.1e} from those that are kept")
