# What docs/writing-skills.md has its reader type; tests/test_writing.py runs it, from the first line
# to the last, in a project of its own. WRITING is this folder.

# -- start make --
python agent.py "/new-skill summarize"
# -- end make --

# -- start run --
python agent.py "/summarize examples/abstract.txt"
python agent.py "/summarize --sentences 1 examples/abstract.txt save to gist.md"
# -- end run --
test -s gist.md

# -- start test --
python -m pytest skills/summarize
# -- end test --

cp "$WRITING/plugin.py" skills/summarize/
cp "$WRITING/language_tests.py" skills/summarize/test_language.py

# -- start edited --
python -m pytest skills/summarize
python agent.py --trust "/summarize --language German examples/abstract.txt"
# -- end edited --

echo "# changed once more" >> skills/summarize/plugin.py

# -- start trust --
python agent.py "/skills trust summarize"
# -- end trust --

echo "# and again" >> skills/summarize/plugin.py
python agent.py < "$WRITING/session.txt"

# -- start prompt --
python agent.py "/new-skill --prompt-only gist"
python agent.py "/gist examples/abstract.txt"
# -- end prompt --

cp -R "$WRITING/release-notes" skills/
cp "$WRITING/release_notes_tests.py" test_release_notes.py

# -- start tools --
python -m pytest test_release_notes.py
# -- end tools --

# -- start package --
python agent.py "/new-skill --package summarize"
cp skills/summarize/plugin.py summarize/src/harness_summarize/plugin.py
rm -r skills/summarize
python -m pip install ./summarize
python -m pytest summarize
python agent.py "/summarize examples/abstract.txt"
# -- end package --

python agent.py "/skills"
