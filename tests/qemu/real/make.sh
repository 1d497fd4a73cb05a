# make: rules, variables, parallel jobs, a shell function, failures.
cat > Makefile <<'END'
objects := $(patsubst %.in,%.out,$(sort $(wildcard *.in)))
now := $(shell echo from the shell)
all: $(objects) sum
%.out: %.in
	@tr a-z A-Z < $< > $@ && echo made $@
sum: $(objects)
	@cat $^ > $@; echo "$(now)"; wc -c < $@
fail:
	@false
.PHONY: all fail
END
for i in 1 2 3 4 5; do echo "input $i" > $i.in; done
make | sort; make | tail -n 1; touch 3.in; sleep 0.01; touch 3.in; make -s; rm ./*.out sum; make -j4 | sort; make fail 2>&1; echo $?; make -n -B sum | wc -l; cat sum
