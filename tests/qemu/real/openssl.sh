# openssl: digests, ciphers, keys and a certificate; speed by its shape, as its figures differ at every run.
head -c 100000 /dev/zero > data
for d in md5 sha1 sha256 sha512 sha3-256 blake2b512; do openssl dgst -$d data; done
openssl enc -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 000102030405060708090a0b0c0d0e0f -in data | openssl dgst -sha256
openssl enc -chacha20 -pass pass:secret -pbkdf2 -S 0011223344556677 -in data | openssl dgst -sha256
openssl rand 32 | wc -c
openssl genpkey -algorithm ed25519 -out key && openssl pkey -in key -pubout | head -n 1
openssl ecparam -genkey -name prime256v1 -noout -out ec && openssl req -x509 -new -key ec -subj /CN=cordon -days 1 -out cert && openssl x509 -in cert -noout -subject && openssl verify -CAfile cert cert
openssl dgst -sha256 -sign ec -out sig data && openssl pkey -in ec -pubout -out pub && openssl dgst -sha256 -verify pub -signature sig data
openssl speed -seconds 1 -bytes 1024 sha256 2>/dev/null | grep -c '^sha256 .*k$'
