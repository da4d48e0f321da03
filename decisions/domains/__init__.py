"""One folder a domain; each exports DOMAIN, or DOMAINS where variants of one run beside it."""

from importlib import import_module
from pkgutil import iter_modules

from decisions.domain import Domain
from decisions.errors import DataError


def all_domains() -> tuple[Domain, ...]:
    """Every domain there is, by name: a folder in this package is one, or holds several."""
    folders = [module.name for module in iter_modules(__path__) if module.ispkg]
    modules = [import_module(f"{__name__}.{folder}") for folder in folders]
    domains = [
        domain
        for module in modules
        for domain in getattr(module, "DOMAINS", None) or (module.DOMAIN,)
    ]
    return tuple(sorted(domains, key=lambda domain: domain.name))


def domain_named(name: str) -> Domain:
    """The domain of that name.

    Raises:
        DataError: there is none.
    """
    for domain in all_domains():
        if domain.name == name:
            return domain
    raise DataError(f"no domain {name!r}; there are {[d.name for d in all_domains()]}")
