"""`python -m saliscope`: the command line without the script."""

import sys

from saliscope.cli.app import main

sys.exit(main())
