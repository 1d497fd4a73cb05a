# The sqlite3 shell on a file, its journal included.
sqlite3 db 'create table t (id integer primary key, name text); insert into t (name) values ("one"), ("two"), ("three");'
sqlite3 -header -column db 'select * from t order by name'
sqlite3 db <<END
begin; insert into t (name) select name || id from t; rollback;
begin; insert into t (name) select name || '-' || id from t; commit;
select count(*), group_concat(name) from t;
pragma journal_mode = wal; insert into t (name) values ('in the log'); select max(id) from t; pragma wal_checkpoint; pragma integrity_check;
with recursive n(x) as (values (1) union all select x + 1 from n where x < 2000) insert into t (name) select 'row ' || x from n;
create index by_name on t (name); select count(*) from t where name like 'row 1%'; vacuum;
.schema
END
sqlite3 -json db 'select id, name from t limit 2'; sqlite3 db .dump | sha256sum; sqlite3 db 'select * from no_such' 2>&1; echo $?; ls
