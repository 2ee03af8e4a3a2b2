"""Text files as people write them: what is not said of them is found, and told of."""

import csv
import gzip
import io
import random
import re
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest
import torch

from caudal.data import TableWriter, open_data, open_rows
from caudal.data.table.dialect import Dialect, rows_in
from caudal.data.table.quoting import DOUBLED, OTHERS, WITHOUT, cells, written
from caudal.data.table.records import blocks
from caudal.data.table.tables import open_table
from caudal.data.table.values import MARKS, MISSING
from caudal.errors import InputError
from caudal.modality import Voice, modality

WORDS = ["caf\N{LATIN SMALL LETTER E WITH ACUTE}", "th\N{LATIN SMALL LETTER E WITH GRAVE}", "eau"]


def opened(tmp_path, content, name="t.csv", memory=1 << 30, **dialect):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_table(str(path), dialect=Dialect(**dialect), memory=memory)


def rows(table):
    return pa.concat_tables(c.table for c in table.chunks(table.names)).to_pydict()


ENCODED = {
    "utf-8": ("utf-8", None),
    "utf-8-sig": ("utf-8-sig", None),
    "utf-16": ("utf-16", "utf-16"),
    "utf-16-be": ("utf-16-be", "utf-16-be"),
    "cp1252": ("cp1252", "read as cp1252, as it is not UTF-8; `encoding` names another"),
}


@pytest.mark.parametrize("case", ENCODED)
def test_the_encoding_is_found(tmp_path, case):
    encoding, note = ENCODED[case]
    table = opened(tmp_path, "".join(["drink,n\n", *(f"{w},1\n" for w in WORDS)]).encode(encoding))
    assert rows(table) == {"drink": WORDS, "n": [1, 1, 1]}
    assert [note in n for n in table.notes] == [True] * (note is not None)


SPOKEN = {
    "Zo\u00eb \u00e9t\u00e9 na\u00efve \u00c5re Stra\u00dfe M\u00fcller": ("cp1252", "mac-roman"),
    "\u0141\u00f3d\u017a Gda\u0144sk \u017ar\u00f3d\u0142o r\u0119ka": ("cp1250", "iso8859-2"),
    "\u041c\u043e\u0441\u043a\u0432\u0430 \u0443\u043b\u0438\u0446\u0430": ("cp1251", "koi8-r"),
}


@pytest.mark.parametrize("text", SPOKEN)
def test_the_encoding_is_the_one_in_which_words_look_right(tmp_path, text):
    for encoding in SPOKEN[text]:
        content = "word,n\n" + "".join(f"{word},1\n" for word in text.split())
        table = opened(tmp_path, content.encode(encoding))
        assert rows(table)["word"] == text.split()
        assert (
            f"read as {encoding}, as it is not UTF-8; `encoding` names another" in table.notes[0]
        )


@pytest.mark.parametrize(
    "text", ["\xa3GBP", "Umsatz (\u20acm)", "\xa5JPY", "\xa9Smith", "\xa310 \u20ac20", "5 \u20acm"]
)
@pytest.mark.parametrize("place", ["header", "value"])
def test_symbols_before_letters_stay_western(tmp_path, text, place):
    """In other encodings the bytes of a pound or a copyright sign are letters that begin words."""
    header, value = (text, "a") if place == "header" else ("a", text)
    table = opened(tmp_path, f"{header},n\n{value},1\n{value},2\n".encode("cp1252"))
    assert rows(table) == {header: [value] * 2, "n": [1, 2]}
    assert "read as cp1252" in table.notes[0]


def test_an_encoding_that_is_given_is_not_told_of(tmp_path):
    content = "drink,n\n\N{LATIN SMALL LETTER E WITH ACUTE},1\n".encode("cp1250")
    assert opened(tmp_path, content, encoding="cp1250").notes == ()


def test_a_letter_far_down_decides_the_encoding(tmp_path):
    content = b"word,n\n" + b"plain,1\n" * 200_000 + "caf\xe9,1\n".encode("latin-1")
    table = opened(tmp_path, content)
    assert rows(table)["word"][-1] == WORDS[0]
    assert table.n_rows == 200_001


# the file: its content, the columns, a word of the note if there is one
FILES = {
    "decimal commas": ("x;n\n1234,50;1\n0,5;2\n", {"x": [1234.5, 0.5], "n": [1, 2]}, "comma"),
    "points of thousands": ("x;n\n1.234,5;1\n20;2\n", {"x": [1234.5, 20.0], "n": [1, 2]}, "comma"),
    "quoted commas": ('x,n\n"1,5",1\n"2,25",2\n', {"x": [1.5, 2.25], "n": [1, 2]}, "comma"),
    "commas of thousands": ('x,n\n"1,500",1\n', {"x": ["1,500"], "n": [1]}, None),
    "comments": ("# a, b\n#\nx,n\n1,2\n# c\n3,4\n", {"x": [1, 3], "n": [2, 4]}, "begin with #"),
    "a commented header": ("# x,n\n1,2\n3,4\n", {"x": [1, 3], "n": [2, 4]}, "begin with #"),
    "colours": ("#f00,1\n#0f0,2\n#f00,1\n#00f,3\n", {"c1": [1, 2, 1, 3]}, "no header"),
    "a preamble": (
        "Sales of 2020\nsource: us\n\nx,n,m\n1,2,a\n3,4,b\n",
        {"x": [1, 3], "n": [2, 4], "m": ["a", "b"]},
        "the 2 lines above the table, 'Sales of 2020', passed over",
    ),
    "a title of two columns": (
        "Temperatures\nyear,t\n2001,3.5\n2002,4.5\n",
        {"year": [2001, 2002], "t": [3.5, 4.5]},
        "the line above the table, 'Temperatures', passed over",
    ),
    "a mark of Excel": ("sep=;\nx;n\n1;2\n3;4\n", {"x": [1, 3], "n": [2, 4]}, None),
    "short rows": (
        "x,n,m\n1,2,3\n4\n5,6\n7,8,9\n",
        {"x": [1, 4, 5, 7], "n": [2, None, 6, 8], "m": [3, None, None, 9]},
        "2 rows lack their last values, .*in line 3",
    ),
    "a delimiter at the end": ("x,n\n1,2,\n3,4,\n", {"x": [1, 3], "n": [2, 4]}, None),
    "one in the header too": (
        "x,n,\n1,2,\n3,4,\n",
        {"x": [1, 3], "n": [2, 4], "unnamed_2": [None, None]},
        None,
    ),
    "one in the header alone": ("x,n,\n1,2\n3,4\n", {"x": [1, 3], "n": [2, 4]}, None),
    "names of rows": ("x,n\na,1,2\nb,3,4\n", {"unnamed_0": ["a", "b"], "x": [1, 3]}, None),
    "a saved index": (",x\n0,1.5\n1,2.5\n", {"unnamed_0": [0, 1], "x": [1.5, 2.5]}, None),
    "names twice": (
        "x,x,x_2,x\n1,2,3,4\n",
        {"x": [1], "x_3": [2], "x_2": [3], "x_4": [4]},
        "'x' is now 'x_3', 'x' is now 'x_4'",
    ),
    "a foot": ("x,n,m\n1,2,a\n3,4,b\n\nSource: us\n,,\n", {"x": [1, 3]}, "2 rows below the table"),
    "blanks": ('x, n\n1, "a, b"\n2 , c\n', {"x": [1, 2], "n": ["a, b", "c"]}, None),
    "quotes within": ('x,n\n5" pipe,1\n6" pipe,2\n', {"x": ['5" pipe', '6" pipe']}, None),
    "quotes behind backslashes": (
        'x,n\n"a \\"b\\", c",1\n"d\\\\",2\n',
        {"x": ['a "b", c', "d\\"], "n": [1, 2]},
        None,
    ),
    "gaps of databases": (
        'x,n\n"a \\"b\\"",\\N\n\\N,2\n"C:\\dir",3\n',
        {"x": ['a "b"', None, "C:\\dir"], "n": [None, 2, 3]},
        None,
    ),
    "escaped quotes at the end": (
        'x,n\r\n"27\\"",1\r\n"",2\r\n"28\\"",3\r\n"\\"29\\""',
        {"x": ['27"', None, '28"', '"29"'], "n": [1, 2, 3, None]},
        "1 row lacks its last values",
    ),
    "a row that an escaped quote hides": (
        'x,n\n"a, \\"",1\nb,2\nc\\",3\n',
        {"x": ['a, "', "b", 'c"'], "n": [1, 2, 3]},
        None,
    ),
    "both backslashes at the end": (
        'x,n\n"C:\\",1\n"27\\"",2\n"a \\"b\\" c",3\n',
        {"x": ["C:\\", '27"', 'a "b" c'], "n": [1, 2, 3]},
        None,
    ),
    "escaped delimiters": (
        "x,n\na\\,b,1\nc\\\nd,2\n\\N,3\n",
        {"x": ["a,b", "c\nd", None], "n": [1, 2, 3]},
        None,
    ),
    "escaped tabs": (
        'x\tn\na\\\tb\t1\n\\"c\\\\d\t\\N\n',
        {"x": ["a\tb", '"c\\d'], "n": [1, None]},
        None,
    ),
    "quotes between tabs": (
        'x\tn\n"Saw" II\t1\n"Rome\t2\nUp\t3\nThe "\t4\n',
        {"x": ['"Saw" II', '"Rome', "Up", 'The "'], "n": [1, 2, 3, 4]},
        None,
    ),
    "a backslash before the end": ('x,n\n"C:\\",1\n"D:\\",2\n', {"x": ["C:\\", "D:\\"]}, None),
    "lines within": ('x,n\r\n"a\r\nb",1\r\n"c",2\r\n', {"x": ["a\nb", "c"], "n": [1, 2]}, None),
    "old lines": ("x,n\r1,2\r3,4\r", {"x": [1, 3], "n": [2, 4]}, None),
    "zero bytes": ("x,n\na\0b,1\nc,2\n", {"x": ["a\0b", "c"], "n": [1, 2]}, None),
    "no end of line": ("x,n\n1,2\n3,4", {"x": [1, 3], "n": [2, 4]}, None),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_found(tmp_path, case):
    content, expected, note = FILES[case]
    table = opened(tmp_path, content)
    assert {name: rows(table)[name] for name in expected} == expected
    if note is None:
        assert table.notes == ()
    else:
        assert any(re.search(note, line) for line in table.notes), table.notes


def test_escapes_far_down_are_found(tmp_path):
    content = "x,n\n" + "abc,1\n" * 3000 + '"27\\"",2\n\\N,3\n"C:\\dir",4\n'
    table = rows(opened(tmp_path, content))
    assert table["x"][-4:] == ["abc", '27"', None, "C:\\dir"]
    assert table["n"][-3:] == [2, 3, 4]


BROKEN = {
    "lines swallowed": ('x,n\n1,1\n"a,2\n"b",3\n"c",4\n', 3),
    "lines swallowed by luck": ('x,n\n"a,2\n"b,3\n"c",4\n', 2),
    "escapes": ('x,n\n"a \\"b\\"",1\n"\\"c\\"",2\n"d" e,3\n', 4),
    "no end": ('x,n\na,1\n"b,2\nc,3\n', 3),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_value_that_does_not_end_is_refused(tmp_path, case):
    content, line = BROKEN[case]
    with pytest.raises(InputError, match=f"line {line}: a quote opens a value that does not end"):
        rows(opened(tmp_path, content))


def texts_of(chance, marks, count):
    """Random texts of words and marks, with neither blanks around them nor marks of gaps."""
    texts = (
        "".join(chance.choices([*"abc d", *marks], k=chance.randint(1, 6))) for _ in iter(int, 1)
    )
    proper = (text for text in texts if text.strip() == text not in {*MISSING, *MARKS, "\\N"})
    return list(islice(proper, count))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_csv_writers_write_is_read(tmp_path, monkeypatch, delimiter):
    chance = random.Random(0)
    for trial in range(40):
        left, right = (texts_of(chance, ['"', "\\", "\n", delimiter], 12) for _ in "lr")
        expected = {"left": left, "n": list(range(12)), "right": right}
        escaped = trial % 2 > 0
        ways = [csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]
        stream = io.StringIO(newline="")
        writer = csv.writer(
            stream,
            delimiter=delimiter,
            quoting=chance.choice([*ways, csv.QUOTE_NONE] if escaped else ways),
            escapechar="\\" if escaped else None,
            doublequote=not escaped,
            lineterminator=chance.choice(["\n", "\r\n"]),
        )
        writer.writerows([expected, *zip(*expected.values(), strict=True)])
        text = stream.getvalue()
        monkeypatch.setattr("caudal.data.table.dialect.BLOCK", chance.choice([30, 100, 1 << 24]))
        assert rows(opened(tmp_path, text)) == expected, text


WAYS = (DOUBLED, *OTHERS, *WITHOUT)


@pytest.mark.parametrize("quoting", WAYS, ids=map(str, range(len(WAYS))))
def test_cells_of_a_line_are_written_as_they_are_read(quoting):
    values = ["a", 'b "c", d', "C:\\dir", '27"', "", "e\tf\\", "\\N", 'a"\t\\"']
    if quoting == WITHOUT[0]:
        values = [value.replace("\t", " ") for value in values]
    line = written(values, "\t", quoting)
    cells_of_line = cells(line, "\t", quoting)
    assert "\t".join(cells_of_line) == line
    (row,) = rows_in([line], "\t", quoting)
    assert row.values == values
    for cell, value in zip(cells_of_line, values, strict=True):
        assert [row.values for row in rows_in([cell], "\t", quoting)] == [[value]] * (value != "")


@pytest.mark.parametrize("last", ["b\t", ""])
def test_the_last_cell_of_a_line_may_end_in_an_escaped_delimiter(last):
    line = written(["1", "", last], "\t", WITHOUT[1])
    assert line.endswith("\t")
    assert len(cells(line, "\t", WITHOUT[1])) == 3


def test_columns_between_blanks(tmp_path):
    content = ' 18.0   8 "chevrolet malibu"\n 15.0\t8 buick \n 16.0   6 "a ""b"""\n'
    table = opened(tmp_path, content, "t.data")
    assert rows(table) == {
        "c0": [18.0, 15.0, 16.0],
        "c1": [8, 8, 6],
        "c2": ["chevrolet malibu", "buick", 'a "b"'],
    }
    np.savetxt(tmp_path / "v.txt", np.arange(6).reshape(3, 2) / 7, header="a b")
    assert open_table(str(tmp_path / "v.txt")).names == ["a", "b"]


GIVEN = {
    "delimiter": ("x,1;n\n1,5;2\n", {"delimiter": ","}, {"x": [1], "1;n": ["5;2"]}),
    "named delimiter": ("x\tn;m\n1\t2;3\n", {"delimiter": "tab"}, {"x": [1], "n;m": ["2;3"]}),
    "decimal": ("x;n\n1,5;2\n", {"decimal": "."}, {"x": ["1,5"], "n": [2]}),
    "comment": ("x,n\n// a\n1,2\n", {"comment": "//"}, {"x": [1], "n": [2]}),
    "na": ("x,n\n-9,NA\n2,\n", {"na": ("-9",)}, {"x": [None, 2], "n": ["NA", None]}),
}


@pytest.mark.parametrize("case", GIVEN)
def test_what_is_given(tmp_path, case):
    content, dialect, expected = GIVEN[case]
    table = opened(tmp_path, content, **dialect)
    assert rows(table) == expected
    assert table.notes == ()


def test_marks_are_missing_among_numbers_alone(tmp_path):
    content = "x,when,word,price\n1,2020-01-02,a,$5\n-,.,-,--\n3,2021-01-02,b,$1\n--,-,c,$2\n"
    table = opened(tmp_path, content)
    assert rows(table) == {
        "x": [1, None, 3, None],
        "when": ["2020-01-02", None, "2021-01-02", None],
        "word": ["a", "-", "b", "c"],
        "price": ["$5", None, "$1", "$2"],
    }
    (note,) = table.notes
    assert "'-' in 'x' (1), '--' in 'x' (1), '.' in 'when' (1), '-' in 'when' (1) and 1 mo" in note
    assert "`na` names the marks instead" in note


def test_headers_are_kept_as_they_were(tmp_path):
    table = opened(tmp_path, ", x,x\n0,1.5,a\n1,2.5,b\n")
    assert table.headers == ("", "x", "x")
    assert table.names == ["unnamed_0", "x", "x_2"]


TYPES = {
    "int64": ["0", "10", "-7", "", "999999999999999999"],
    "double": ["0", "0.5", "-0.25", "+2", "1e3", "-inf", ".5", "1."],
    "string": ["1", "07"],
    "string, a sign": ["1.5", "-007"],
    "string, long": ["1", "1234567890123456789"],
    "string, longer": ["1", "123456789012345678901234567890"],
    "string, words": ["1", "2 "] + ["x"],
    "string, hex": ["1", "0x1F"],
    "null": ["", " ", "NA"],
    "int64, nan": ["1", "nan", "NAN"],
    "double, blanks": ["1 ", " 2.5", ""],
}


@pytest.mark.parametrize("case", TYPES)
@pytest.mark.parametrize("more", [[], ["-"], ["NA"]])
def test_types_of_columns(tmp_path, monkeypatch, case, more):
    values = [*TYPES[case], *more]
    content = "a,b\n" + "".join(f"{value},{i}\n" for i, value in enumerate(values))
    table = opened(tmp_path, content)
    assert str(table.schema.field("a").type) == case.partition(",")[0]
    assert rows(table)["b"] == list(range(len(values)))
    monkeypatch.setattr("caudal.data.table.dialect.BLOCK", 5)
    assert rows(opened(tmp_path, content, memory=16)) == rows(table)


# What the first values let expect, and what comes later; how often the file is read.
LATER = {
    "as before": (["1", "2"], ["3", ""], 1),
    "decimals": (["1", "2"], ["2.5", "3"], 2),
    "words": (["1", "2.5"], ["x", "NA"], 2),
    "zeros in front": (["1", "10"], ["007", "7"], 2),
    "numbers below gaps": (["", "NA"], ["1", "2"], 2),
    "marks below dates": (["2024-03-01", "2024-03-02"], ["-", "2024-03-03"], 1),
    "words below marks": (["-", "2024-03-02"], ["soon", "-"], 2),
    "decimal commas": (["1.234", "5"], ["1.25", "1,5"], 2),
}


@pytest.mark.parametrize("case", LATER)
def test_a_file_is_read_again_only_where_later_values_are_others(tmp_path, monkeypatch, case):
    first, then, times = LATER[case]
    lines = [f"{value};{i}\n" for i, value in enumerate([*first, *then])]
    dialect = {"delimiter": ";", "decimal": "," if case == "decimal commas" else "."}
    whole = opened(tmp_path, "a;b\n" + "".join(lines), **dialect)
    read = []
    whole_blocks = blocks

    def counted(*args):
        read.append(args)
        return whole_blocks(*args)

    monkeypatch.setattr("caudal.data.table.text.blocks", counted)
    monkeypatch.setattr("caudal.data.table.dialect.BLOCK", len("a;b\n" + "".join(lines[:2])))
    for memory in (1 << 30, 16):
        read.clear()
        pieces = opened(tmp_path, "a;b\n" + "".join(lines), memory=memory, **dialect)
        assert pieces.schema == whole.schema
        assert rows(pieces) == rows(whole)
        assert len(read) == times


def test_a_large_text_is_announced(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "1,2\n2,1\n" * 25)
    said = []
    voice = Voice()
    monkeypatch.setattr(voice, "say", said.append)
    table = modality("table")
    table.open_all(str(path), open_data(str(path)).schema, table.reading(), {}, voice)
    assert said == []
    monkeypatch.setattr("caudal.modalities.table.table._LARGE_TEXT", 100)
    table.open_all(str(path), open_data(str(path)).schema, table.reading(), {}, voice)
    assert said == [f"reading {path}, 0.0 GB of text: about a minute for each GB"]


def messy(n):
    """Rows with whatever blocks may cut in two: quotes, lines, gaps, comments, short rows."""
    chance = random.Random(0)
    kinds = ['{i},a,"b\nc"', "{i},,x", '{i},"q ""x""",é', "{i},d", "# no row", "", '{i},3" ,y']
    return "".join(chance.choice(kinds).format(i=i) + "\n" for i in range(n))


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_blocks_of_any_size_give_the_same_table(tmp_path, monkeypatch, size):
    content = "# made\nx,y,z\n" + messy(60)
    whole = opened(tmp_path, content)
    monkeypatch.setattr("caudal.data.table.dialect.BLOCK", size)
    pieces = opened(tmp_path, content)
    assert rows(pieces) == rows(whole)
    assert pieces.notes == whole.notes


def test_text_that_takes_too_much_memory_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr("caudal.data.table.dialect.BLOCK", 4096)
    content = "x;y;z\n" + "".join(f"{i};{i},5;{'-' if i % 9 else i}\n" for i in range(3000))
    whole = opened(tmp_path, content)
    streamed = opened(tmp_path, gzip.compress(content.encode()), "t.csv.gz", memory=1 << 12)
    assert len(streamed.groups) > 1
    assert streamed.schema == whole.schema
    assert rows(streamed) == rows(whole)
    assert [note.partition(" ")[2] for note in streamed.notes] == [
        note.partition(" ")[2] for note in whole.notes
    ]


def test_lines_stand_beside_the_rows_of_a_streamed_file(tmp_path, monkeypatch):
    monkeypatch.setattr("caudal.data.table.dialect.BLOCK", 512)
    lines = [f"{i % 7}.50, 'a' ,{i}" for i in range(500)]
    path = tmp_path / "t.csv"
    path.write_text("x,y,z\n" + "\n\n".join(lines))
    schema = open_data(str(path), columns=["x", "z"]).schema
    items = open_rows(str(path), schema, memory=64).beside_lines(TableWriter(tmp_path / "o.csv"))
    pieces = list(items.pieces())
    assert len(pieces) > 9
    assert [line for p in pieces for line in p.beside["x,y,z"].to_pylist()] == lines
    assert torch.cat([p.batch.x for p in pieces])[:, 1].tolist() == list(range(500))
