# A virtual environment with pip, which is unpacked and compiled.
python3 -m venv withpip > out 2>&1; echo $?; withpip/bin/pip --version | cut -d ' ' -f 1-2; ls withpip/bin | sort
