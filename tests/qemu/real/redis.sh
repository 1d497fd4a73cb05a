# A server and its clients in one sandbox, over loopback.
redis-server --port 6379 --bind 127.0.0.1 --save '' --appendonly no --daemonize no > log 2>&1 &
p=$!
i=0; until redis-cli ping > /dev/null 2>&1 || [ $i -ge 100 ]; do i=$((i + 1)); sleep 0.1; done
redis-cli ping
redis-cli set key value; redis-cli get key; redis-cli incr n; redis-cli incrby n 41; redis-cli lpush l a b c; redis-cli lrange l 0 -1; redis-cli hset h f 1 g 2; redis-cli hgetall h
redis-cli zadd z 2 two 1 one; redis-cli zrange z 0 -1 withscores; redis-cli eval 'return redis.call("get", KEYS[1])' 1 key; redis-cli expire key 100; redis-cli dbsize; redis-cli no-such
for i in 1 2 3 4 5; do echo "set k$i v$i"; done | redis-cli | sort | uniq -c; redis-cli mget k1 k3 k9; redis-cli save; ls dump.rdb
redis-benchmark -q -n 500 -c 5 -t set,get 2>/dev/null | tr '\r' '\n' | grep -c 'requests per second'
redis-cli shutdown nosave; wait $p; echo "server $?"
