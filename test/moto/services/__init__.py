"""What create.py makes, by service. Some have tags when they are made, or somebody's Owner."""

from services import a_b, c_d, e_k, l_r, s_z  # noqa: F401: they fill ALL
from services.given import ALL  # noqa: F401
