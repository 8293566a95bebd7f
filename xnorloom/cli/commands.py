"""The commands: each calls the package and prints a summary of the result."""

__all__ = ["compare", "compile", "doctor", "estimate", "inspect", "route", "simulate", "synth",
           "table", "train", "verilog"]


def _print(thing):
    from ..report.progress import console

    console.print(thing)


def _kept(options, read, call):
    """Result of a call, also written as JSON if that is asked for; ``read`` is what it reads."""
    from ..output import check_output, write_json

    if options.json is not None:
        check_output(options.json, "Result", read)
    result = call()
    if options.json is not None:
        write_json(options.json, result)
    return result


def train(options):
    from .. import train
    from ..report.tables import accuracy_line

    result = train(options.net, options.data, options.scheme, output=options.output,
                   epochs=options.epochs, seed=options.seed,
                   augment=None if options.augment == "none" else options.augment, verbose=True)
    _print(accuracy_line(result.accuracy))
    _print(f"wrote {options.output}")
    return 0


def compile(options):
    from .. import compile as compile_image

    image = compile_image(options.checkpoint, options.machine, batch=options.batch,
                          output=options.output, dump=options.dump_passes, verbose=True)
    if options.dump_passes:
        _print(f"wrote the text of every pass into {options.dump_passes}")
    _print(f"wrote {options.output}: {len(image.layers)} layers, {len(image.to_bytes()):,} bytes, "
           f"{image.batch} images per run on machine {image.config.name}")
    return 0


def verilog(options):
    from .. import verilog

    text = verilog(options.machine, popcount=options.popcount, name=options.name,
                   output=options.output)
    _print(f"wrote {options.output}: {text.count(chr(10)):,} lines")
    return 0


def simulate(options):
    from .. import simulate

    result = simulate(options.image, options.data, count=options.count, engine=options.engine,
                      waves=options.waves, window=options.window, json=options.json,
                      verbose=True)
    accuracy = result["accuracy"]["hardware"]
    _print(f"{result['images']} images, {result['cycles']['measured']:,} cycles, "
           f"{result['simulation']['cycles_per_second']:,} cycles per second"
           + ("" if accuracy is None else f"; accuracy {accuracy:.2%}"))
    for name in (result["simulation"]["waves"], options.json):
        if name:
            _print(f"wrote {name}")
    return 0


def compare(options):
    from .. import compare
    from ..report.report import mismatches
    from ..report.tables import accuracy_line, scheme_table

    report = compare(options.checkpoint, options.data, options.machine, count=options.count,
                     batch=options.batch, engine=options.engine, json=options.json, verbose=True)
    scheme = report["schemes"][0]
    _print(scheme_table(scheme))
    _print(accuracy_line(scheme["accuracy"]))
    wrong = mismatches(report)
    _print(f"{scheme['values_compared']:,} values compared three ways, {wrong:,} mismatches")
    if options.json:
        _print(f"wrote {options.json}")
    return 1 if wrong else 0


def table(options):
    from .. import table
    from ..report.summary import summary
    from ..report.tables import results_table

    report = table(options.schemes, seeds=options.seeds, net=options.net, data=options.data,
                   machine=options.machine, epochs=options.epochs, count=options.count,
                   jobs=options.jobs, folder=options.folder, output=options.output, verbose=True)
    _print(results_table(report))
    wrong = sum(summary(scheme)["mismatches"] for scheme in report["schemes"])
    _print(f"torch = integer reference = RTL in all runs: {wrong:,} mismatches")
    _print(f"wrote {options.folder}/report.json")
    if options.output:
        _print(f"wrote {options.output}/results.md")
    return 1 if wrong else 0


def estimate(options):
    from .. import estimate
    from ..report.tables import estimate_table

    result = _kept(options, options.image, lambda: estimate(options.image))
    _print(estimate_table(result["layers"], f"{options.image}: {result['images']} images per run, "
                                            f"machine {result['machine']}"))
    return 0


def inspect(options):
    from .. import inspect
    from ..report.tables import inspect_tables

    result = _kept(options, options.image,
                   lambda: inspect(options.image, picture=options.picture))
    for table in inspect_tables(result):
        _print(table)
    if options.picture:
        _print(f"wrote {options.picture}")
    return 0


def synth(options):
    from .. import synth
    from ..report.tables import area_table

    result = _kept(options, options.machine,
                   lambda: synth(options.machine, target=options.target, verbose=True))
    _print(area_table(result))
    return 0


def route(options):
    from .. import route
    from ..report.tables import route_lines

    result = _kept(options, options.machine, lambda: route(
        options.machine, seed=options.seed, verbose=True))
    for line in route_lines(result):
        _print(line)
    return 0


def doctor(_options):
    from .. import doctor
    from ..report.tables import environment_table

    parts = doctor()
    _print(environment_table(parts))
    missing = [part for part in parts if part.state == "missing"]
    for part in missing:
        _print(f"{part.name} is missing: {part.remedy}")
    if not missing:
        _print("everything that `make demo` needs is here")
    return 1 if missing else 0
