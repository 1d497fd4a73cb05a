# gcc compiles, links and its programs run: with libraries, with threads, static with musl.
cat > hello.c <<'END'
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) { printf("hello %s %.4f\n", argc > 1 ? argv[1] : "nobody", sqrt(2)); return argc; }
END
cat > threads.c <<'END'
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static long sum;
static void *add(void *p) { for (int i = 0; i < 1000; i++) { pthread_mutex_lock(&m); sum += (long)p; pthread_mutex_unlock(&m); } return p; }
int main(void) { pthread_t t[4]; long r = 0; void *v; for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, add, (void *)i); for (int i = 0; i < 4; i++) { pthread_join(t[i], &v); r += (long)v; } printf("%ld %ld\n", sum, r); return 0; }
END
gcc -O2 -Wall -o hello hello.c -lm && ./hello world; echo $?
gcc -pthread -O1 -o threads threads.c && ./threads; echo $?
gcc -static -o static hello.c -lm && ./static; echo $?
musl-gcc -static -O2 -o musl hello.c && ./musl static; echo $?
musl-gcc -static -O2 -o musl-threads threads.c && ./musl-threads; echo $?
printf 'int twice(int x) { return 2 * x; }' > lib.c; gcc -shared -fPIC -o libtwice.so lib.c; printf 'int twice(int); int main(void) { return twice(21); }' > use.c; gcc -o use use.c -L. -ltwice -Wl,-rpath,/tmp && ./use; echo $?
ar rcs libtwice.a 2>/dev/null; nm -D libtwice.so | grep -c ' T twice'; size hello > /dev/null; echo $?; strip hello && ./hello; objdump -d hello | grep -c ret > /dev/null; echo $?
echo 'int main(void) { return undefined; }' | gcc -x c - 2>&1 | head -n 3; printf '#include <no-such.h>\n' | gcc -E - 2>&1 | tail -n 1
