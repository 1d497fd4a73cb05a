# A virtual environment is made and used.
python3 -m venv --without-pip env && . env/bin/activate && python -c 'import sys; print(sys.prefix, sys.base_prefix)'; command -v python; deactivate 2>/dev/null
ls env env/bin | sort
