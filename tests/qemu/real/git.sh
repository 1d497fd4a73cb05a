# git: a repository with commits whose ids are the same everywhere.
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@d GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 +0000'
git init -q -b main repo && cd repo || exit 1
echo one > file; mkdir dir; seq 100 > dir/numbers; git add . && git commit -q -m 'first'; git log --format='%H %an %s'
echo two >> file; git status --short; git diff; git commit -q -a -m 'second'; git log --oneline --stat
git checkout -q -b side HEAD~1; echo side > other; git add other; git commit -q -m 'side'; git checkout -q main; git merge -q side -m merged; git log --graph --oneline; ls
git tag v1; git describe --tags; git rev-parse HEAD; git ls-files -s; git cat-file -p HEAD; git show --stat HEAD~1 | head -n 4
git stash list; echo dirty > file; git stash -q; cat file; git stash pop -q; cat file; git checkout -q -- file
git gc -q 2>&1; git fsck 2>&1; git count-objects; cd ..; git clone -q repo clone; cd clone && git log -1 --format=%s && git blame file | cut -c 1-9; git rebase -q HEAD~1 2>&1; git archive HEAD | wc -c; git grep -n two; git no-such 2>&1 | head -n 1; git branch -a
