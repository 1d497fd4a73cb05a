# nginx and curl in one sandbox, over loopback.
mkdir -p www/sub logs; echo 'hello from nginx' > www/index.html; seq 1 50000 > www/large; echo sub > www/sub/x
cat > conf <<'END'
daemon off; master_process on; worker_processes 2; pid /tmp/nginx.pid; error_log /tmp/logs/error; user root;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path /tmp/logs; proxy_temp_path /tmp/logs; fastcgi_temp_path /tmp/logs; uwsgi_temp_path /tmp/logs; scgi_temp_path /tmp/logs;
  sendfile on; gzip on; gzip_types text/plain;
  server { listen 127.0.0.1:8080; root /tmp/www; location /back { proxy_pass http://127.0.0.1:8081/; } location /redirect { return 302 /index.html; } }
  server { listen 127.0.0.1:8081; location / { return 200 "behind the proxy\n"; } }
}
END
nginx -c /tmp/conf -p /tmp -e /tmp/logs/error & p=$!
i=0; until curl -s -o /dev/null http://127.0.0.1:8080/ || [ $i -ge 100 ]; do i=$((i + 1)); sleep 0.1; done
curl -s http://127.0.0.1:8080/; curl -s http://localhost:8080/sub/x; curl -s http://127.0.0.1:8080/large | sha256sum; curl -s --compressed http://127.0.0.1:8080/large | sha256sum
curl -s http://127.0.0.1:8080/back; curl -sL -w '%{http_code} %{num_redirects}\n' http://127.0.0.1:8080/redirect; curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:8080/missing
curl -s -r 0-9 http://127.0.0.1:8080/large; curl -sI http://127.0.0.1:8080/ | grep -c 'nginx'; curl -s http://127.0.0.1:9/; echo "refused: $?"
c=; for i in 1 2 3 4 5 6 7 8; do curl -s http://127.0.0.1:8080/large > got$i & c="$c $!"; done; wait $c; cat got? | wc -l
kill -QUIT $p; wait $p; echo "server $?"; grep -c 'open() "/tmp/www/missing" failed' logs/error
